package bucket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAConnectionOnWhichAStoreIsNotWellIsNotUsedAgain(t *testing.T) {
	type connKey struct{}
	for _, status := range []int{http.StatusRequestTimeout, statusClientClosed, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		connections, asked := 0, 0
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			switch {
			case !strings.HasSuffix(r.URL.Path, "/key"): // of the opening
			case r.Context().Value(connKey{}) == 1:
				w.WriteHeader(status) // for ever
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}))
		server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			connections++
			return context.WithValue(ctx, connKey{}, connections)
		}
		server.Start()
		t.Setenv("AWS_ACCESS_KEY_ID", "a")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
		b, err := Open(t.Context(), "s3://bucket/x?region=us-east-1&style=path&endpoint="+server.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d: the first answer is %v", status, err)
		}
		if _, err := b.Stat(t.Context(), "key"); !errors.Is(err, ErrNotFound) || connections < 2 {
			t.Errorf("%d: the second answer is %v, after %d requests on %d connections", status, err, asked, connections)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	}
}
