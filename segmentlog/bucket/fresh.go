package bucket

import (
	"io"
	"net/http"
)

// fresh is a transport that does not use a connection again on which a store answered that
// it is not well. A server may tie its trouble to the connection: MinIO goes on answering
// 499 on one whose client was silent in the middle of a request, however often it is asked.
type fresh struct{ *http.Transport }

// statusClientClosed is what some servers answer when they believe that the client has gone.
const statusClientClosed = 499

// RoundTrip implements http.RoundTripper.
func (f fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.Transport.RoundTrip(r)
	if err == nil && unwell(resp.StatusCode) {
		resp.Body = lastBody{resp.Body, f.Transport}
	}
	return resp, err
}

func unwell(status int) bool {
	return status >= 500 || status == statusClientClosed || status == http.StatusRequestTimeout
}

// lastBody is the body of the last answer of a connection.
type lastBody struct {
	io.ReadCloser
	t *http.Transport
}

func (b lastBody) Close() error {
	err := b.ReadCloser.Close()
	b.t.CloseIdleConnections() // it is among them, if it is still open
	return err
}
