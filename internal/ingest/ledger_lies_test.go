package ingest

import (
	"bytes"
	"maps"
	"testing"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/netsim"
)

// reasonOf is the reason under which a lie is dropped or ignored. Text messages, error
// frames and #info have none: they are counted otherwise.
var reasonOf = map[string]string{
	"bad-link":                  "bad_tag",
	"bad-rev":                   "bad_rev",
	"bad-tag":                   "bad_tag",
	"bad-time":                  "bad_time",
	"bad-utf8":                  "bad_utf8",
	"blocks-empty":              "blocks_empty",
	"blocks-too-large":          "blocks_size",
	"car-hash-mismatch":         "block_hash",
	"car-no-roots":              "car_no_root",
	"car-root-not-commit":       "car_root_mismatch",
	"car-truncated":             "car_block",
	"car-version-2":             "car_version",
	"car-without-commit":        "commit_block_absent",
	"commit-bad-cid":            "commit_object",
	"commit-float":              "commit_object",
	"commit-not-root":           "car_root_mismatch",
	"commit-old-rev":            "rev_old",
	"commit-other-did":          "commit_did",
	"commit-other-rev":          "commit_rev",
	"commit-trailing-byte":      "commit_object",
	"commit-unsorted":           "commit_object",
	"commit-version-2":          "commit_object",
	"commit-without-data":       "commit_object",
	"commit-without-did":        "commit_object",
	"commit-without-prev":       "commit_object",
	"commit-without-rev":        "commit_object",
	"commit-without-sig":        "commit_object",
	"deep-nesting":              "nested_too_deeply",
	"did-bad-syntax":            "bad_did",
	"did-unknown-method":        "unsupported_did_method",
	"did-upper-case":            "bad_did",
	"did-web-path":              "bad_did",
	"duplicate-key":             "duplicate_key",
	"float-in-envelope":         "float",
	"frame-empty":               "truncated",
	"frame-trailing-bytes":      "trailing_bytes",
	"frame-truncated":           "truncated",
	"header-alone":              "truncated",
	"inactive-commit":           "account_inactive",
	"inactive-sync":             "account_inactive",
	"lying-length":              "truncated",
	"missing-active":            "missing_field",
	"missing-blocks":            "missing_field",
	"missing-commit":            "missing_field",
	"missing-did":               "missing_field",
	"missing-ops":               "missing_field",
	"missing-repo":              "missing_field",
	"missing-rev":               "missing_field",
	"missing-seq":               "missing_field",
	"missing-time":              "missing_field",
	"mistyped-active":           "mistyped_field",
	"mistyped-blocks":           "mistyped_field",
	"mistyped-commit":           "mistyped_field",
	"mistyped-ops":              "mistyped_field",
	"mistyped-repo":             "mistyped_field",
	"mistyped-seq":              "mistyped_field",
	"not-cbor":                  "malformed_cbor",
	"op-cid-differs":            "op_cid_mismatch",
	"op-create-with-prev":       "op_form",
	"op-create-without-cid":     "op_form",
	"op-created-absent":         "op_cid_mismatch",
	"op-delete-with-cid":        "op_form",
	"op-delete-without-prev":    "op_without_prev",
	"op-deleted-present":        "op_deleted_present",
	"op-path-bad-collection":    "op_form",
	"op-path-bad-key":           "op_form",
	"op-path-three-parts":       "op_form",
	"op-path-twice":             "op_path_twice",
	"op-path-without-slash":     "op_form",
	"op-prev-forged":            "prev_data_mismatch",
	"op-unknown-action":         "op_form",
	"op-update-without-cid":     "op_form",
	"op-update-without-prev":    "op_without_prev",
	"op-withheld":               "prev_data_mismatch",
	"ops-emptied":               "data_changed_without_ops",
	"other-host-account":        "wrong_host",
	"other-host-commit":         "wrong_host",
	"other-host-identity":       "identity_of_another_host",
	"other-host-sync":           "wrong_host",
	"oversized-frame":           "frame_too_large",
	"prevdata-absent":           "no_prev_data",
	"prevdata-and-since-absent": "no_prev_data",
	"prevdata-forged":           "prev_data_mismatch",
	"proof-node-absent":         "node_absent",
	"record-absent":             "record_absent",
	"record-not-cbor":           "record_not_cbor",
	"record-too-large":          "record_size",
	"rev-in-future":             "rev_in_future",
	"seq-negative":              "seq_out_of_range",
	"seq-repeated":              "seq_not_increasing",
	"seq-too-large":             "seq_out_of_range",
	"seq-zero":                  "seq_out_of_range",
	"signature-high-s":          "signature_form",
	"signature-short":           "signature_form",
	"signature-stale":           "bad_signature",
	"signature-wrong-key":       "bad_signature",
	"sync-hash-mismatch":        "block_hash",
	"sync-old-rev":              "sync_rev_old",
	"sync-other-commit":         "sync_rev_reused",
	"sync-too-large":            "blocks_size",
	"tombstoned-did":            "did_gone",
	"too-many-ops":              "op_count",
	"tree-empty-node":           "mst_empty_node",
	"tree-exponential":          "mst_depth",
	"tree-key-twice":            "mst_order",
	"tree-order":                "mst_order",
	"tree-prefix-too-long":      "mst_prefix",
	"tree-shared-child":         "mst_block_twice",
	"tree-too-many-entries":     "mst_node_size",
	"tree-wrong-depth":          "mst_depth",
	"unknown-did-commit":        "did_gone",
	"unknown-did-sync":          "did_gone",
	"unknown-op":                "unknown_message",
	"unknown-type":              "unknown_message",
}

func TestEveryLieIsCountedUnderItsHostAndReason(t *testing.T) {
	for _, lie := range netsim.Lies() {
		t.Run(lie.Name, func(t *testing.T) {
			t.Parallel()
			n := newNet(t, netsim.Options{Hosts: 2, Accounts: 3, Churn: -1})
			c := newCounted(t, n, &memLog{}, ledger.Options{})
			c.addHosts(n.HostURLs()...)
			h, honest := n.Host(0), n.Host(1)
			post := func() {
				t.Helper()
				for _, h := range []*netsim.Host{h, honest} {
					if _, err := h.Post(h.Account(0)); err != nil {
						t.Fatal(err)
					}
				}
			}
			post()
			c.caughtUp(n)
			times := 3
			if lie.Once || lie.Solo {
				times = 1
			}
			for range times {
				if _, err := h.LieAbout(h.Account(0), lie.Name); err != nil {
					t.Fatal(err)
				}
			}
			post()
			c.caughtUp(n)
			if lie.Closes {
				until(t, "the next connection", func() bool { return c.sums()[h.Name].connections >= 2 })
			}
			sent := 0
			for _, e := range n.Ledger() {
				if e.Lie != "" {
					sent += int(e.Sent)
				}
			}
			if sent != times {
				t.Fatalf("the lie was sent %d times, want %d", sent, times)
			}
			c.balanced()
			sums := c.sums()
			if s := sums[honest.Name]; s.of(ledger.Dropped)+s.of(ledger.Ignored)+s.of(ledger.Closed) != 0 {
				t.Errorf("the honest host: %v", s.reasons)
			}
			got, want := sums[h.Name], map[ledger.Outcome]map[string]int{}
			switch lie.Row {
			case 1:
				want[ledger.Closed] = map[string]int{"text_message": 1}
			case 4:
				if got.errors != 1 {
					t.Errorf("%d error frames, want 1", got.errors)
				}
			case 5:
				if got.outdated != times || got.infos != times {
					t.Errorf("%d of %d #info say that events are missing, want all of %d", got.outdated, got.infos, times)
				}
			default:
				want[ledger.Dropped] = map[string]int{reasonOf[lie.Name]: times}
				if lie.Outcome == netsim.Ignore {
					want = map[ledger.Outcome]map[string]int{ledger.Ignored: want[ledger.Dropped]}
				}
				if row := c.reject.row(reasonOf[lie.Name]); row != lie.Row {
					t.Errorf("the reason is of T%d, want T%d", row, lie.Row)
				}
			}
			if lie.Row == 8 && lie.Closes {
				want[ledger.Closed] = map[string]int{"bad_seq": 1}
			}
			if !maps.EqualFunc(got.reasons, want, maps.Equal) {
				t.Errorf("counted %v, want %v", got.reasons, want)
			}
			kept := c.ledger.Quarantine().List("")
			if dropped := len(want[ledger.Dropped]); len(kept) < dropped || len(kept) > times*dropped {
				t.Errorf("%d frames are in the quarantine", len(kept))
			}
			for _, k := range kept {
				if k.Host != h.Name || k.Reason != reasonOf[lie.Name] || !c.sentSo(n, k) {
					t.Errorf("the quarantine has what was not sent: %+v", k)
				}
			}
		})
	}
}

// sentSo says whether the network sent a frame of the quarantine.
func (c *counted) sentSo(n *netsim.Network, k *ledger.Quarantined) bool {
	for _, e := range n.Ledger() {
		if e.Lie == "" || e.Host != k.Host {
			continue
		}
		raw, err := n.Frame(e.Index)
		if err != nil {
			c.t.Fatal(err)
		}
		if bytes.Equal(raw[:min(len(raw), len(k.Raw))], k.Raw) && (k.Truncated || len(raw) == len(k.Raw)) {
			return true
		}
	}
	return false
}
