package bucket

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Options says where a store that speaks S3 is. Bucket is needed.
type S3Options struct {
	Endpoint string // host and port; default AWS's for the region
	Insecure bool   // http
	Region   string // default AWS_REGION, else what the store says
	Bucket   string
	Prefix   string // before every key, without a slash at its end
	// PathStyle asks for bucket names in the path, VirtualStyle for such in the host;
	// neither leaves it to what the endpoint is.
	PathStyle, VirtualStyle bool
	CAFile                  string // of a certificate authority to trust besides the system's
	// NoChecksums leaves out the SHA-256 that is sent behind the body, for stores that
	// refuse it: then the body is hashed before it is sent, and confirmed by reading it.
	NoChecksums bool
	// Stall is how long a connection may move no byte: 60 s.
	Stall time.Duration
	// Credentials: the environment, the file and the machine's role, as AWS's tools do.
	Credentials *credentials.Credentials
}

// S3 is a bucket of a store that speaks S3.
type S3 struct {
	o         S3Options
	core      minio.Core
	transport *http.Transport
}

// OpenS3 looks whether the bucket is there and may be used: ErrRefused if not.
func OpenS3(ctx context.Context, o S3Options) (*S3, error) {
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	if o.Endpoint == "" {
		o.Endpoint = "s3.amazonaws.com"
	}
	t, err := newTransport(&o)
	if err != nil {
		return nil, err
	}
	if o.Credentials == nil {
		o.Credentials = credentials.NewChainCredentials([]credentials.Provider{
			// A role's credentials come over t, so that Close closes that connection too.
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second, Transport: t}},
		})
	}
	lookup := minio.BucketLookupAuto
	if o.PathStyle {
		lookup = minio.BucketLookupPath
	} else if o.VirtualStyle {
		lookup = minio.BucketLookupDNS
	}
	core, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds: o.Credentials, Secure: !o.Insecure, Transport: fresh{t}, Region: o.Region, BucketLookup: lookup,
		TrailingHeaders: !o.NoChecksums, MaxRetries: 1, // callers retry
	})
	if err != nil {
		return nil, fmt.Errorf("s3://%s: %w", o.Bucket, err)
	}
	s := &S3{o: o, core: *core, transport: t}
	if err := s.look(ctx); err != nil {
		t.CloseIdleConnections()
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return s, nil
}

// look returns nil where the bucket is there and lets us in.
func (s *S3) look(ctx context.Context) error {
	who, err := s.o.Credentials.GetWithContext(&credentials.CredContext{Client: &http.Client{Transport: s.transport}})
	if err != nil {
		return fmt.Errorf("credentials: %w", s3Error(err))
	}
	if who.AccessKeyID == "" {
		return refused(hintNone)
	}
	ok, err := s.core.BucketExists(ctx, s.o.Bucket)
	if err == nil && !ok {
		return fmt.Errorf("%w: there is no such bucket at %s", refused(hintBucket), s.o.Endpoint)
	}
	return s3Error(err)
}

// Close gives the connections back.
func (s *S3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func (s *S3) String() string {
	at := "s3://" + s.o.Bucket
	if s.o.Prefix != "" {
		at += "/" + s.o.Prefix
	}
	return at
}

// key returns the store's name of an object.
func (s *S3) key(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if !ValidKey(key) {
		return "", fmt.Errorf("%q cannot be the key of an object", key)
	}
	return s.prefix() + key, nil
}

func (s *S3) prefix() string {
	if s.o.Prefix == "" {
		return ""
	}
	return s.o.Prefix + "/"
}

// Create implements Bucket.
func (s *S3) Create(ctx context.Context, key string, body Body) (Info, error) {
	var o minio.PutObjectOptions
	o.SetMatchETagExcept("*")
	return s.put(ctx, key, body, o, ErrExists)
}

// Replace implements Bucket.
func (s *S3) Replace(ctx context.Context, key string, old Version, body Body) (Info, error) {
	var o minio.PutObjectOptions
	if old == "" {
		return Info{}, fmt.Errorf("%s: %w", key, ErrChanged)
	}
	o.SetMatchETag(string(old))
	info, err := s.put(ctx, key, body, o, ErrChanged)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%s: %w", key, ErrChanged)
	}
	return info, err
}

// put sends an object in one request; unmet is the error of a condition that does not
// hold.
func (s *S3) put(ctx context.Context, key string, body Body, o minio.PutObjectOptions, unmet error) (Info, error) {
	name, err := s.key(ctx, key)
	if err != nil {
		return Info{}, err
	}
	o.ContentType, o.DisableMultipart = contentType(key), true
	r := newProven(key, body)
	var up minio.UploadInfo
	if s.o.NoChecksums {
		up, err = s.core.PutObject(ctx, s.o.Bucket, name, r, body.Size, "", hex.EncodeToString(body.SHA256[:]), o)
	} else {
		o.Checksum = minio.ChecksumSHA256
		up, err = s.core.Client.PutObject(ctx, s.o.Bucket, name, r, body.Size, o)
	}
	wrong := r.giveBack()
	switch {
	case wrong != nil:
		return Info{}, fmt.Errorf("%s: %w", key, wrong)
	case err != nil && isUnmet(err):
		return Info{}, fmt.Errorf("%s: %w", key, unmet)
	case err != nil && !s.o.NoChecksums && isChecksum(err):
		return Info{}, fmt.Errorf("%s: %s: %w", key, hintChecksum, s3Error(err))
	case err != nil:
		return Info{}, fmt.Errorf("%s: %w", key, s3Error(err))
	}
	return Info{Key: key, Size: body.Size, Version: Version(up.ETag), SHA256: checksum(up.ChecksumSHA256)}, nil
}

func contentType(key string) string {
	switch {
	case strings.HasSuffix(key, ".json"):
		return "application/json"
	case strings.HasSuffix(key, ".jsonl"):
		return "application/jsonl"
	case strings.HasSuffix(key, ".zst"):
		return "application/zstd"
	}
	return "application/octet-stream"
}

// checksum decodes what a store says of a whole object: nil for nothing, and for the
// hash of an object in parts.
func checksum(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil
	}
	return b
}

// Read implements Bucket.
func (s *S3) Read(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	name, err := s.key(ctx, key)
	if err != nil {
		return nil, err
	}
	if n == 0 { // which no range says
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	var o minio.GetObjectOptions
	switch {
	case off < 0:
		return nil, fmt.Errorf("%s: offset %d", key, off)
	case n > 0:
		err = o.SetRange(off, off+n-1)
	case off > 0:
		err = o.SetRange(off, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	r, info, _, err := s.core.GetObject(ctx, s.o.Bucket, name, o)
	if err != nil {
		if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
			return s.readEnd(ctx, key, off, n)
		}
		return nil, fmt.Errorf("%s: %w", key, s3Error(err))
	}
	if n < 0 {
		n = info.Size // of what is sent
	}
	return &exactly{&named{r, key}, n, r}, nil
}

// readEnd is what to return of an object that has no byte at off.
func (s *S3) readEnd(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if n < 0 {
		st, err := s.Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		if st.Size == off {
			return http.NoBody, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", key, io.ErrUnexpectedEOF)
}

// named says in its errors what is read, and of which kind they are.
type named struct {
	io.Reader
	key string
}

func (r *named) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", r.key, s3Error(err))
	}
	return n, err
}

// Stat implements Bucket.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	name, err := s.key(ctx, key)
	if err != nil {
		return Info{}, err
	}
	st, err := s.core.StatObject(ctx, s.o.Bucket, name, minio.StatObjectOptions{Checksum: !s.o.NoChecksums})
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", key, s3Error(err))
	}
	return Info{Key: key, Size: st.Size, Version: Version(st.ETag), SHA256: checksum(st.ChecksumSHA256)}, nil
}

// List implements Bucket.
func (s *S3) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Info{}, fmt.Errorf("list %s: %w", prefix, err))
			return
		}
		o := minio.ListObjectsOptions{Prefix: s.prefix() + prefix, Recursive: true}
		if after != "" {
			o.StartAfter = s.prefix() + after
		}
		for obj := range s.core.ListObjectsIter(ctx, s.o.Bucket, o) {
			if obj.Err != nil {
				yield(Info{}, fmt.Errorf("list %s: %w", prefix, s3Error(obj.Err)))
				return
			}
			key := strings.TrimPrefix(obj.Key, s.prefix())
			if !ValidKey(key) { // a folder's marker, or somebody else's
				continue
			}
			if !yield(Info{Key: key, Size: obj.Size}, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil { // the client ends a list without saying so
			yield(Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// Delete implements Bucket.
func (s *S3) Delete(ctx context.Context, key string) error {
	name, err := s.key(ctx, key)
	if err != nil {
		return err
	}
	err = s3Error(s.core.RemoveObject(ctx, s.o.Bucket, name, minio.RemoveObjectOptions{}))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
