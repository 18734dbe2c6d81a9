package bucket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
)

// isUnmet says whether the store refused a write for its condition.
func isUnmet(err error) bool {
	return minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed || minio.ToErrorResponse(err).Code == minio.PreconditionFailed
}

// isChecksum says whether the store takes a body for another than its checksum says. What
// is sent was proven, so that it was harmed on the way or the store reads it wrongly.
func isChecksum(err error) bool {
	switch minio.ToErrorResponse(err).Code {
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch":
		return true
	}
	return false
}

// What a person can do about a refusal.
const (
	hintNone     = "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials, or give the machine a role"
	hintAccess   = "check the key, its secret and this machine's clock, and that the key may list the bucket and read, write and delete its objects"
	hintRegion   = "check the endpoint and the region"
	hintBucket   = "make the bucket, or give the right name, endpoint and region"
	hintChecksum = "where this is always so, the store cannot take checksums behind a body: add checksums=off"
	hintCA       = "its certificate is not trusted: give ca=/file where it is of an authority of your own"
)

// s3Error adds to what a store answered which of the package's errors it is.
func s3Error(err error) error {
	if err == nil {
		return nil
	}
	var kind error
	if r := minio.ToErrorResponse(err); r.StatusCode != 0 || r.Code != "" {
		kind = kindOfResponse(r)
	} else {
		kind = kindOfConnection(err)
	}
	if kind == nil || errors.Is(err, kind) {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// refused is ErrRefused with what to do.
func refused(hint string) error { return fmt.Errorf("%w (%s)", ErrRefused, hint) }

// kindOfResponse sorts what a store answered; nil is none of the package's errors.
func kindOfResponse(r minio.ErrorResponse) error {
	switch r.Code {
	case minio.NoSuchBucket:
		return refused(hintBucket)
	case minio.NoSuchKey:
		return ErrNotFound
	case "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded":
		return ErrFull
	case minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return refused(hintRegion)
	case minio.InvalidAccessKeyID, minio.SignatureDoesNotMatch, "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed":
		return refused(hintAccess)
	case minio.NotImplemented:
		return ErrUnfit // of all we ask, a condition or a checksum is what stores lack
	}
	switch {
	case r.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case r.StatusCode == http.StatusInsufficientStorage:
		return ErrFull
	case r.StatusCode == http.StatusForbidden, r.StatusCode == http.StatusUnauthorized:
		return refused(hintAccess)
	case r.StatusCode == http.StatusMovedPermanently:
		return refused(hintRegion)
	case r.StatusCode == http.StatusNotImplemented:
		return ErrUnfit
	case unwell(r.StatusCode), r.StatusCode == http.StatusConflict, r.StatusCode == http.StatusTooManyRequests:
		return ErrUnavailable
	}
	return nil
}

// kindOfConnection sorts an error for which no store answered; nil is none of the
// package's errors.
func kindOfConnection(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		return nil // they say so themselves
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return refused(hintCA)
	case errors.As(err, new(*url.Error)), errors.As(err, new(*net.OpError)), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrUnavailable // the client hides what broke an exchange off
	}
	return nil
}
