package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Open opens the bucket that a URL names:
//
//	file:///path/to/folder
//	s3://bucket/prefix?endpoint=https://host:port&region=…&style=path|virtual&ca=/file&checksums=off
//
// A parameter that is not one of these is an error.
func Open(ctx context.Context, rawURL string) (Bucket, error) {
	dir, s3, err := parseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("archive %s: %w", redacted(rawURL), err)
	}
	if dir != "" {
		return OpenDir(dir)
	}
	return OpenS3(ctx, s3)
}

// redacted quotes a URL without what may be a secret in it: all between the first ://
// and the last @, which has no place in it.
func redacted(raw string) string {
	if scheme, rest, ok := strings.Cut(raw, "://"); ok {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			raw = scheme + "://…" + rest[at:]
		}
	}
	return strconv.Quote(raw)
}

// parseURL returns a folder, or where a store is.
func parseURL(raw string) (dir string, o S3Options, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // raw stands in the caller's error
		}
		return "", o, err
	}
	switch {
	case u.User != nil:
		return "", o, errors.New("credentials do not belong into the URL: give them as AWS's tools take them (AWS_ACCESS_KEY_ID, ~/.aws/credentials, the machine's role)")
	case u.Fragment != "":
		return "", o, errors.New("a # has no meaning here")
	case u.Scheme == "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) || u.RawQuery != "" {
			return "", o, errors.New("a folder is file:///absolute/path")
		}
		return filepath.Clean(u.Path), o, nil
	case u.Scheme != "s3":
		return "", o, errors.New("it is neither file:///folder nor s3://bucket/prefix")
	case strings.Contains(u.Host, ":"):
		return "", o, errors.New("the first name is the bucket's and has no port: s3://bucket/prefix?endpoint=https://host:port")
	case u.Host == "":
		return "", o, errors.New("the name of the bucket is missing: s3://bucket/prefix")
	}
	o.Bucket, o.Prefix = u.Host, strings.Trim(u.Path, "/")
	if o.Prefix != "" && (!ValidKey(o.Prefix) || path.Clean(o.Prefix) != o.Prefix) {
		return "", o, fmt.Errorf("%q cannot be a prefix: letters, digits and -_./ only", o.Prefix)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", o, err
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if values := q[name]; len(values) > 1 || values[0] == "" {
			return "", o, fmt.Errorf("%q is given twice, or with no value", name)
		}
		if err := o.set(name, q.Get(name)); err != nil {
			return "", o, err
		}
	}
	if o.Region == "" {
		o.Region = os.Getenv("AWS_REGION")
	}
	if o.Endpoint == "" && o.Region != "" {
		o.Endpoint = "s3." + o.Region + ".amazonaws.com"
	}
	return "", o, nil
}

// set takes a parameter of the URL.
func (o *S3Options) set(name, value string) error {
	switch name {
	case "endpoint":
		e, err := url.Parse(value)
		if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" || strings.Trim(e.Path, "/") != "" || e.User != nil || e.RawQuery != "" || e.Fragment != "" {
			return fmt.Errorf("endpoint %s is not https://host:port", redacted(value))
		}
		o.Endpoint, o.Insecure = e.Host, e.Scheme == "http"
	case "region":
		o.Region = value
	case "style":
		switch value {
		case "path":
			o.PathStyle = true
		case "virtual":
			o.VirtualStyle = true
		default:
			return fmt.Errorf("style %q is neither path nor virtual", value)
		}
	case "ca":
		o.CAFile = value
	case "checksums":
		if value != "on" && value != "off" {
			return fmt.Errorf("checksums %q is neither on nor off", value)
		}
		o.NoChecksums = value == "off"
	default:
		return fmt.Errorf("%q is not a parameter: endpoint, region, style, ca and checksums are", name)
	}
	return nil
}
