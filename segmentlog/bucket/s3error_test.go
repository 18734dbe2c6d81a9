package bucket

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestWhatAStoreAnswersIsSortedByWhatHelps(t *testing.T) {
	for _, c := range []struct {
		answer minio.ErrorResponse
		kind   string
		hint   string
	}{
		{minio.ErrorResponse{StatusCode: 404, Code: minio.NoSuchKey}, "not_found", ""},
		{minio.ErrorResponse{StatusCode: 404, Code: "NotFound"}, "not_found", ""},
		{minio.ErrorResponse{StatusCode: 404, Code: minio.NoSuchBucket}, "refused", hintBucket},
		{minio.ErrorResponse{StatusCode: 403, Code: "AccessDenied"}, "refused", hintAccess},
		{minio.ErrorResponse{StatusCode: 403, Code: minio.SignatureDoesNotMatch}, "refused", hintAccess},
		{minio.ErrorResponse{StatusCode: 400, Code: "ExpiredToken"}, "refused", hintAccess},
		{minio.ErrorResponse{StatusCode: 401}, "refused", hintAccess},
		{minio.ErrorResponse{StatusCode: 400, Code: minio.AuthorizationHeaderMalformed}, "refused", hintRegion},
		{minio.ErrorResponse{StatusCode: 301, Code: "PermanentRedirect"}, "refused", hintRegion},
		{minio.ErrorResponse{StatusCode: 507}, "full", ""},
		{minio.ErrorResponse{StatusCode: 500, Code: "InternalError"}, "unavailable", ""},
		{minio.ErrorResponse{StatusCode: 503, Code: "SlowDown"}, "unavailable", ""},
		{minio.ErrorResponse{StatusCode: 429}, "unavailable", ""},
		{minio.ErrorResponse{StatusCode: 409, Code: "ConditionalRequestConflict"}, "unavailable", ""},
		{minio.ErrorResponse{StatusCode: 501, Code: minio.NotImplemented}, "unfit", ""},
		{minio.ErrorResponse{StatusCode: 400, Code: "InvalidArgument"}, "other", ""},
	} {
		err := s3Error(c.answer)
		if KindOf(err) != c.kind || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("%+v is %q, not %q: %v", c.answer, KindOf(err), c.kind, err)
		}
		if !errors.As(err, new(minio.ErrorResponse)) {
			t.Errorf("what the store answered is lost: %v", err)
		}
	}
}

func TestAStoreWithoutATrustedCertificateIsRefused(t *testing.T) {
	store := httptest.NewUnstartedServer(http.NotFoundHandler())
	store.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // it complains of the client
	store.StartTLS()
	defer store.Close()
	_, err := OpenS3(t.Context(), S3Options{
		Endpoint: strings.TrimPrefix(store.URL, "https://"), Region: "us-east-1", Bucket: "archive", PathStyle: true,
		Credentials: credentials.NewStaticV4("key", "secret", ""),
	})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), hintCA) {
		t.Errorf("%q: %v", KindOf(err), err)
	}
}

func TestNoCredentialsIsSaidBeforeAnythingIsAsked(t *testing.T) {
	_, err := OpenS3(t.Context(), S3Options{
		Endpoint: "127.0.0.1:1", Insecure: true, Region: "us-east-1", Bucket: "archive", Credentials: credentials.NewStaticV4("", "", ""),
	})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), hintNone) {
		t.Errorf("%q: %v", KindOf(err), err)
	}
}
