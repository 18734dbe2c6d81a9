package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/xrpc"
)

type quarantineRow struct {
	Index       uint64    `json:"index"`
	Reason      string    `json:"reason"`
	Host        string    `json:"host"`
	DID         string    `json:"did,omitempty"`
	UpstreamSeq uint64    `json:"upstream_seq,omitempty"`
	Time        time.Time `json:"time"`
	Bytes       int       `json:"bytes"`
	Truncated   bool      `json:"truncated,omitempty"`
}

// quarantine lists the dropped frames that are kept, newest first, of ?reason=… or of
// all. With ?index=… it answers with the frame as it came.
func quarantine(list func(reason string) []*ledger.Quarantined) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		frames := list(r.FormValue("reason"))
		if index := r.FormValue("index"); index != "" {
			n, err := strconv.ParseUint(index, 10, 64)
			if err != nil {
				xrpc.WriteError(w, http.StatusBadRequest, "InvalidRequest", "index is not a number")
				return
			}
			rawFrame(w, frames, n)
			return
		}
		rows := make([]quarantineRow, 0, len(frames))
		for _, f := range frames {
			rows = append(rows, quarantineRow{
				Index: f.Index, Reason: f.Reason, Host: f.Host, DID: f.DID, UpstreamSeq: f.Seq, Time: f.Time, Bytes: f.Size,
				Truncated: f.Truncated,
			})
		}
		xrpc.WriteJSON(w, http.StatusOK, rows)
	}
}

// rawFrame answers with a frame's bytes, which are a stranger's: nothing may take them
// for a page.
func rawFrame(w http.ResponseWriter, frames []*ledger.Quarantined, index uint64) {
	for _, f := range frames {
		if f.Index == index {
			h := w.Header()
			h.Set("Content-Type", "application/octet-stream")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%d.frame"`, f.Reason, f.Index))
			h.Set("Content-Length", strconv.Itoa(len(f.Raw)))
			_, _ = w.Write(f.Raw) // the client left
			return
		}
	}
	xrpc.WriteError(w, http.StatusNotFound, "FrameNotFound", "that frame is not kept any more, or not under that reason")
}
