package netsim

import (
	"fmt"
	"net/http"
	"strconv"
)

// ControlHandler lets another process watch and steer the network over HTTP:
//
//	GET  /ledger?from=INDEX               the ledger as JSON Lines
//	GET  /frame?index=INDEX               the bytes of an entry's frame
//	GET  /hosts                           every host's URL, highest seq and subscribers
//	POST /step?count=N                    events of the usual mix
//	POST /host/{i}/lie?name=NAME          tell a lie; answers with its entry
//	POST /host/{i}/dialect?name=NAME      speak a dialect; answers with the entry
//	POST /host/{i}/{action}               stop, start, disconnect, stall, resume or reset
func (n *Network) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ledger", n.controlLedger)
	mux.HandleFunc("GET /frame", n.controlFrame)
	mux.HandleFunc("GET /hosts", n.controlHosts)
	mux.HandleFunc("POST /step", n.controlStep)
	mux.HandleFunc("POST /host/{i}/lie", n.controlHost(func(h *Host, r *http.Request) (any, error) {
		return h.Lie(r.URL.Query().Get("name"))
	}))
	mux.HandleFunc("POST /host/{i}/dialect", n.controlHost(func(h *Host, r *http.Request) (any, error) {
		accounts := h.Accounts()
		if len(accounts) == 0 {
			return nil, fmt.Errorf("host %s has no account", h.Name)
		}
		return h.Speak(accounts[0], r.URL.Query().Get("name"))
	}))
	mux.HandleFunc("POST /host/{i}/{action}", n.controlHost(func(h *Host, r *http.Request) (any, error) {
		return map[string]bool{"ok": true}, h.act(r.PathValue("action"))
	}))
	return mux
}

// act does to a host what its name says.
func (h *Host) act(action string) error {
	switch action {
	case "stop":
		return h.Stop()
	case "start":
		return h.Start()
	case "disconnect":
		h.Disconnect()
	case "stall":
		h.Stall(true)
	case "resume":
		h.Stall(false)
	case "reset":
		h.Reset()
	default:
		return fmt.Errorf("no action %q", action)
	}
	return nil
}

func (n *Network) controlHost(do func(*Host, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i, err := strconv.Atoi(r.PathValue("i"))
		if err != nil || i < 0 || i >= len(n.hosts) {
			xrpcError(w, http.StatusNotFound, "HostNotFound", "there is no such host")
			return
		}
		answer, err := do(n.hosts[i], r)
		if err != nil {
			xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

func (n *Network) controlLedger(w http.ResponseWriter, r *http.Request) {
	from, err := number(r, "from")
	if err != nil {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	_ = WriteLedger(w, n.LedgerFrom(from)) // the client has gone; nothing to tell
}

func (n *Network) controlFrame(w http.ResponseWriter, r *http.Request) {
	index, err := number(r, "index")
	var frame []byte
	if err == nil {
		frame, err = n.Frame(index)
	}
	if err != nil {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(frame) // the client has gone; nothing to tell
}

func (n *Network) controlHosts(w http.ResponseWriter, _ *http.Request) {
	type state struct {
		URL         string `json:"url"`
		Seq         uint64 `json:"seq"`
		Subscribers int    `json:"subscribers"`
	}
	out := make([]state, len(n.hosts))
	for i, h := range n.hosts {
		out[i] = state{URL: h.URL, Seq: h.Seq(), Subscribers: h.Subscribers()}
	}
	writeJSON(w, http.StatusOK, out)
}

func (n *Network) controlStep(w http.ResponseWriter, r *http.Request) {
	count, err := number(r, "count")
	for i := 0; i < count && err == nil; i++ {
		err = n.Step()
	}
	if err != nil {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"ledger": n.Len()})
}

// number reads a query parameter that is a number; absent is 0.
func number(r *http.Request, key string) (int, error) {
	s := r.URL.Query().Get(key)
	if s == "" {
		return 0, nil
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%s must be a number", key)
	}
	return v, nil
}
