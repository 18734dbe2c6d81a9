package bucket

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"
)

// isUnmet says whether the store refused a write for its condition.
func isUnmet(err error) bool {
	return minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed || minio.ToErrorResponse(err).Code == minio.PreconditionFailed
}

// s3Error adds to what a store answered which of the package's errors it is.
func s3Error(err error) error {
	if err == nil {
		return nil
	}
	r := minio.ToErrorResponse(err)
	var kind error
	switch {
	case r.Code == minio.NoSuchBucket:
		kind = ErrRefused
	case r.Code == minio.NoSuchKey || r.StatusCode == http.StatusNotFound:
		kind = ErrNotFound
	case r.Code == "XMinioStorageFull" || r.StatusCode == http.StatusInsufficientStorage || r.Code == "QuotaExceeded" || r.Code == "XMinioAdminBucketQuotaExceeded":
		kind = ErrFull
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		kind = ErrRefused
	case r.StatusCode >= 500 || r.StatusCode == http.StatusConflict || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout:
		kind = ErrUnavailable
	default:
		return err
	}
	if errors.Is(err, kind) {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}
