package collections

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cistern-archive/cistern/internal/identity"
)

const (
	describeTimeout = 10 * time.Second
	// maxDescription bounds an answer, in bytes.
	maxDescription = 1 << 20
	// maxCollections bounds what is taken of it.
	maxCollections = 1000
)

// describer asks hosts with com.atproto.repo.describeRepo.
type describer struct {
	trusted, public *http.Client
	userAgent       string
}

func newDescriber(userAgent string) *describer {
	const idle = 8
	return &describer{
		trusted:   identity.HostClient((&net.Dialer{Timeout: describeTimeout}).DialContext, describeTimeout, idle),
		public:    identity.HostClient(identity.PublicDialer(describeTimeout).DialContext, describeTimeout, idle),
		userAgent: userAgent,
	}
}

func (d *describer) close() {
	d.trusted.CloseIdleConnections()
	d.public.CloseIdleConnections()
}

// ask returns the collections that a host says a repo has.
func (d *describer) ask(ctx context.Context, h Host, did string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/xrpc/com.atproto.repo.describeRepo?repo="+url.QueryEscape(did), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", d.userAgent)
	client := d.public
	if h.Trusted {
		client = d.trusted
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", h.URL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDescription+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDescription {
		return nil, fmt.Errorf("%s: the answer is larger than %d bytes", h.URL, maxDescription)
	}
	var body struct {
		DID         string   `json:"did"`
		Collections []string `json:"collections"`
	}
	if err := json.Unmarshal(b, &body); err != nil {
		return nil, fmt.Errorf("%s: %w", h.URL, err)
	}
	if body.DID != did {
		return nil, fmt.Errorf("%s: it describes %q", h.URL, body.DID)
	}
	return body.Collections[:min(len(body.Collections), maxCollections)], nil
}
