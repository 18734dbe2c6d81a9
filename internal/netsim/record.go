package netsim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/cistern-archive/cistern/segmentlog/dagcbor"
)

// Collections that accounts write to.
const (
	collPost    = "app.bsky.feed.post"
	collLike    = "app.bsky.feed.like"
	collRepost  = "app.bsky.feed.repost"
	collFollow  = "app.bsky.graph.follow"
	collBlock   = "app.bsky.graph.block"
	collProfile = "app.bsky.actor.profile"
	pathProfile = collProfile + "/self"
)

// collectionShares is how often each collection is written to, in per cent, about
// as on the public network.
var collectionShares = []struct {
	collection string
	upTo       int
}{{collLike, 55}, {collPost, 73}, {collRepost, 84}, {collFollow, 97}, {collBlock, 100}}

func randomCollection(r *rand.Rand) string {
	n := r.IntN(100)
	for _, c := range collectionShares {
		if n < c.upTo {
			return c.collection
		}
	}
	return collLike
}

var words = strings.Fields(`the a of to and in is it you that was for on are with as his they at be this from
have or by one had not but what all were when we there can an your which their said if do will each about how
up out them then she many some so these would other into has more her two like him see time could no make than
first been its who now people my made over did down only way find use may water long little very after words
called just where most know skeet firehose relay cursor wow sky blue morning coffee cat dog ☕ 🦋 über naïve 日本`)

func sentence(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// newRecord makes the DAG-CBOR of a record. other is the DID that it refers to.
func newRecord(r *rand.Rand, collection, other string, micros int64) []byte {
	fields := []field{{"$type", text(collection)}}
	if collection != collProfile {
		fields = append(fields, field{"createdAt", text(formatTime(micros))})
	}
	switch collection {
	case collPost:
		fields = append(fields, postFields(r, other, micros)...)
	case collLike, collRepost:
		fields = append(fields, field{"subject", strongRef(r, other, micros)})
	case collFollow, collBlock:
		fields = append(fields, field{"subject", text(other)})
	case collProfile:
		fields = append(fields, field{"displayName", text(sentence(r, 2))},
			field{"description", text(sentence(r, 5+r.IntN(25)))})
	}
	return encodeFields(fields)
}

func postFields(r *rand.Rand, other string, micros int64) []field {
	lang := dagcbor.AppendText(dagcbor.AppendHead(nil, dagcbor.MajorArray, 1), "en")
	fields := []field{{"text", text(sentence(r, 3+r.IntN(40)))}, {"langs", lang}}
	switch n := r.IntN(10); {
	case n < 4:
		fields = append(fields, field{"reply", encodeFields([]field{
			{"root", strongRef(r, other, micros)}, {"parent", strongRef(r, other, micros)},
		})})
	case n < 6:
		fields = append(fields, field{"embed", encodeFields([]field{
			{"$type", text("app.bsky.embed.record")}, {"record", strongRef(r, other, micros)},
		})})
	}
	return fields
}

// strongRef refers to some record of another account, of the last ten days.
func strongRef(r *rand.Rand, did string, micros int64) []byte {
	at := tid(micros-r.Int64N(10*24*3600*1e6)-1, uint(r.IntN(1024)))
	return encodeFields([]field{
		{"cid", text(asCID(randomCID(r)).String())},
		{"uri", text(fmt.Sprintf("at://%s/%s/%s", did, collPost, at))},
	})
}

// randomCID names a block that nobody has.
func randomCID(r *rand.Rand) []byte {
	out := append(make([]byte, 0, 36), 0x01, codecDagCBOR, 0x12, 0x20)
	for len(out) < 36 {
		v := r.Uint64()
		out = append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	return out
}
