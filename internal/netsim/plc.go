package netsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"
)

// PLC is the DID directory: GET /{did}, /{did}/log/audit, /_health. A test may make
// it slow, failing or lying.
type PLC struct {
	URL string

	net    *Network
	server *http.Server
	served chan struct{}

	mu       sync.Mutex // guards all below
	fault    func(did string) PLCFault
	requests map[string]int
}

// PLCFault is how the directory answers about one DID. The zero value is honest.
type PLCFault struct {
	Delay      time.Duration // before the answer
	Status     int           // an HTTP status instead of the document, such as 429 or 503
	RetryAfter string        // the header of that name, with Status
	Body       []byte        // this instead of the document
}

func newPLC(n *Network) *PLC { return &PLC{net: n, requests: make(map[string]int)} }

// SetFault sets what decides over every later request; nil makes the directory
// honest again.
func (p *PLC) SetFault(fault func(did string) PLCFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Requests says how often a DID was asked for.
func (p *PLC) Requests(did string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[did]
}

func (p *PLC) start(addr string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("plc directory: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{did}", p.serveDocument)
	mux.HandleFunc("GET /{did}/log/audit", p.serveAudit)
	mux.HandleFunc("GET /_health", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": "netsim"})
	})
	p.URL = "http://" + l.Addr().String()
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second}
	p.served = make(chan struct{})
	go func() {
		defer close(p.served)
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.net.opts.Logger.Error("plc directory stopped serving", "err", err)
		}
	}()
	return nil
}

func (p *PLC) close() error {
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	<-p.served
	return err
}

// faulty counts the request and answers it when the fault says so.
func (p *PLC) faulty(w http.ResponseWriter, r *http.Request, did string) bool {
	p.mu.Lock()
	p.requests[did]++
	fault := p.fault
	p.mu.Unlock()
	if fault == nil {
		return false
	}
	f := fault(did)
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		writeJSON(w, f.Status, map[string]string{"message": http.StatusText(f.Status)})
	case f.Body != nil:
		w.Header().Set("Content-Type", "application/did+ld+json")
		_, _ = w.Write(f.Body) // the client has gone; nothing to tell
	default:
		return false
	}
	return true
}

func (p *PLC) serveDocument(w http.ResponseWriter, r *http.Request) {
	did := r.PathValue("did")
	if p.faulty(w, r, did) {
		return
	}
	body, status, err := p.net.documentOf(did)
	switch {
	case err != nil:
		writeJSON(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
	case status != http.StatusOK:
		writeJSON(w, status, map[string]string{"message": "DID not registered or not available: " + did})
	default:
		w.Header().Set("Content-Type", "application/did+ld+json; charset=utf-8")
		_, _ = w.Write(body) // the client has gone; nothing to tell
	}
}

// documentOf makes the DID document of an account.
func (n *Network) documentOf(did string) ([]byte, int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if doc, ok := n.extra[did]; ok {
		return doc, http.StatusOK, nil
	}
	a, ok := n.byDID[did]
	if !ok {
		return nil, http.StatusNotFound, nil
	}
	if a.document.gone {
		return nil, http.StatusGone, nil
	}
	if a.document.public == nil {
		if err := a.ensureKey(); err != nil {
			return nil, 0, err
		}
	}
	body, err := json.Marshal(a.document.encode(did))
	return body, http.StatusOK, err
}

// SetDocument makes the directory answer with a document of one's own; an account of
// the same DID is hidden by it.
func (n *Network) SetDocument(did string, doc []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.extra[did] = doc
}

// serveAudit writes the audit log: an array of operations, the oldest first. Their
// signatures are empty.
func (p *PLC) serveAudit(w http.ResponseWriter, r *http.Request) {
	did := r.PathValue("did")
	if p.faulty(w, r, did) {
		return
	}
	p.net.mu.Lock()
	a := p.net.byDID[did]
	var ops []any
	for _, op := range historyOf(a) {
		ops = append(ops, map[string]any{
			"did": did, "nullified": false, "createdAt": time.UnixMicro(op.at).UTC().Format("2006-01-02T15:04:05.000Z"),
			"operation": map[string]any{
				"type": "plc_operation", "prev": nil, "sig": "", "alsoKnownAs": []string{"at://" + op.handle},
				"rotationKeys": []string{op.key}, "verificationMethods": map[string]string{"atproto": op.key},
				"services": map[string]any{"atproto_pds": map[string]string{
					"type": "AtprotoPersonalDataServer", "endpoint": op.pds,
				}},
			},
		})
	}
	p.net.mu.Unlock()
	if ops == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"message": "DID not registered: " + did})
		return
	}
	writeJSON(w, http.StatusOK, ops)
}

// historyOf returns an account's operations, its first key made if need be; the
// network is locked.
func historyOf(a *Account) []plcOp {
	if a == nil {
		return nil
	}
	if a.document.public == nil && a.ensureKey() != nil {
		return nil
	}
	return a.document.history
}

// encode makes the DID document: in the modern form (Multikey), or in that of 2019
// (uncompressed key, relative ids), which the npm directory writes.
func (d *document) encode(did string) map[string]any {
	context := []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"}
	method := map[string]string{
		"id": did + "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": d.public.Multibase(),
	}
	if d.legacy {
		context[1] = "https://w3id.org/security/suites/secp256k1-2019/v1"
		method["id"] = "#atproto"
		method["type"] = "EcdsaSecp256k1VerificationKey2019"
		if _, ok := d.public.(*atcrypto.PublicKeyP256); ok {
			context[1] = "https://w3id.org/security/suites/ecdsa-2019/v1"
			method["type"] = "EcdsaSecp256r1VerificationKey2019"
		}
		method["publicKeyMultibase"] = "z" + base58.Encode(d.public.UncompressedBytes())
	}
	return map[string]any{
		"@context": context, "id": did, "alsoKnownAs": []string{"at://" + d.handle},
		"verificationMethod": []any{method},
		"service": []any{map[string]string{
			"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": d.host.URL,
		}},
	}
}
