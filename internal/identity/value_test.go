package identity

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/index/disposable"
	"github.com/cistern-archive/cistern/internal/signing"
)

// The stored form is part of the format: a change of it needs a new storeSchema.
func TestTheStoredFormIsAsItIsDescribed(t *testing.T) {
	key, err := hex.DecodeString("e7010279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	must(t, err)
	k, err := signing.ParseMulticodec(key)
	must(t, err)
	d := storedDocument{key: k, host: "pds.example", hash: [32]byte{31: 9}, fetched: time.Unix(1_767_225_600, 0)}
	value := d.value()
	want := "80f2d6ca06" + hex.EncodeToString(key) + "0000000000000000000000000000000000000000000000000000000000000009" + hex.EncodeToString([]byte("pds.example"))
	if got := hex.EncodeToString(value); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, err := decodeValue(value)
	if err != nil || again.host != d.host || again.hash != d.hash || !again.fetched.Equal(d.fetched) || !again.key.Equal(k) {
		t.Errorf("%+v, %v", again, err)
	}
	if storeSchema != 1 || string(documentKey(someDID)) != "d"+someDID {
		t.Error("the layout's number or keys changed")
	}
}

func FuzzDecodeValue(f *testing.F) {
	key, err := hex.DecodeString("e7010279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	if err != nil {
		f.Fatal(err)
	}
	k, err := signing.ParseMulticodec(key)
	if err != nil {
		f.Fatal(err)
	}
	d := storedDocument{key: k, host: "pds.example", hash: [32]byte{1}, fetched: time.Unix(1_767_225_600, 0)}
	f.Add(d.value())
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 80))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeValue(b)
		if err != nil {
			if !errors.Is(err, disposable.ErrValue) {
				t.Fatalf("%v does not end the store", err)
			}
			return
		}
		if d.key == nil || d.host == "" || len(d.host) > maxHost {
			t.Fatalf("took %+v", d)
		}
		again, err := decodeValue(d.value())
		if err != nil || again.host != d.host || again.hash != d.hash || !again.key.Equal(d.key) || !again.fetched.Equal(d.fetched) {
			t.Fatalf("%+v is not %+v, %v", again, d, err)
		}
	})
}
