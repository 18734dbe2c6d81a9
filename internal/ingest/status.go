package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/cistern-archive/cistern/internal/identity"
)

const (
	statusTimeout = 5 * time.Second
	// maxStatusBody bounds a getRepoStatus answer, in bytes.
	maxStatusBody = 64 << 10
	// statusAtOnce bounds the questions on their way to all hosts.
	statusAtOnce = 32
	// statusPerHost bounds those to one host, so that one that does not answer cannot
	// take all.
	statusPerHost = 4
)

// statusAsker asks hosts for an account's status with com.atproto.sync.getRepoStatus.
type statusAsker struct {
	trusted, public *http.Client
	userAgent       string
	slots           chan struct{}
}

func newStatusAsker(o *Options) *statusAsker {
	trusted, public := o.Dial.DialTrusted, o.Dial.DialPublic
	if trusted == nil {
		trusted = (&net.Dialer{Timeout: statusTimeout}).DialContext
	}
	if public == nil {
		public = identity.PublicDialer(statusTimeout).DialContext
	}
	return &statusAsker{
		trusted:   identity.HostClient(trusted, statusTimeout, statusAtOnce),
		public:    identity.HostClient(public, statusTimeout, statusAtOnce),
		userAgent: o.UserAgent,
		slots:     make(chan struct{}, statusAtOnce),
	}
}

func (a *statusAsker) close() {
	a.trusted.CloseIdleConnections()
	a.public.CloseIdleConnections()
}

// ask says whether the host serves the account as active. An error means that it did
// not answer. A host that does not know the account answers too: it is not active.
func (a *statusAsker) ask(ctx context.Context, addr *address, did string) (active bool, err error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, addr.repoStatusURL(did), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", a.userAgent)
	client := a.public
	if addr.trusted {
		client = a.trusted
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatusBody))
	if err != nil {
		return false, err
	}
	return readStatus(did, resp.StatusCode, body)
}

var errOtherRepo = errors.New("the answer is about another account")

func readStatus(did string, code int, body []byte) (active bool, err error) {
	var answer struct {
		DID    string `json:"did"`
		Active bool   `json:"active"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return false, fmt.Errorf("HTTP %d: %w", code, err)
	}
	switch {
	case code == http.StatusOK && answer.DID == did:
		return answer.Active, nil
	case code == http.StatusOK:
		return false, errOtherRepo
	case answer.Error == "RepoNotFound":
		return false, nil
	}
	return false, fmt.Errorf("HTTP %d: %.100q", code, answer.Error)
}
