package bucket

import (
	"strings"
	"testing"
)

func TestAURLSaysWhereABucketIs(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	for raw, want := range map[string]S3Options{
		"s3://b":                     {Bucket: "b"},
		"s3://b/":                    {Bucket: "b"},
		"s3://b/a/prefix/":           {Bucket: "b", Prefix: "a/prefix"},
		"s3://b?region=eu-central-1": {Bucket: "b", Region: "eu-central-1", Endpoint: "s3.eu-central-1.amazonaws.com"},
		"s3://b/p?endpoint=http://127.0.0.1:9000&region=x&style=path&checksums=off": {
			Bucket: "b", Prefix: "p", Endpoint: "127.0.0.1:9000", Insecure: true, Region: "x", PathStyle: true, NoChecksums: true},
		"s3://b?endpoint=https://minio.example/&style=virtual&ca=/etc/ca.pem&checksums=on": {
			Bucket: "b", Endpoint: "minio.example", VirtualStyle: true, CAFile: "/etc/ca.pem"},
	} {
		dir, o, err := parseURL(raw)
		if err != nil || dir != "" || o != want {
			t.Errorf("%s: %q, %+v, %v", raw, dir, o, err)
		}
	}
	if dir, _, err := parseURL("file:///var/lib/../archive/"); err != nil || dir != "/var/archive" {
		t.Errorf("%q, %v", dir, err)
	}
}

func TestAURLThatIsNoneSaysWhy(t *testing.T) {
	for raw, want := range map[string]string{
		"/var/archive":                  "neither file:///folder nor s3://",
		"file://relative/path":          "file:///absolute/path",
		"file:///x?y=z":                 "file:///absolute/path",
		"https://b.s3.amazonaws.com":    "neither",
		"s3:///prefix":                  "bucket is missing",
		"s3://key:secret@b":             "credentials do not belong",
		"s3://b?regoin=x":               "not a parameter",
		"s3://b?region=x&region=y":      "given twice",
		"s3://b?ca=":                    "no value",
		"s3://b:9000/p":                 "has no port",
		"s3://b?endpoint=https://h?x=y": "is not https://host:port",
		"s3://b?endpoint=127.0.0.1":     "is not https://host:port",
		"s3://b?endpoint=https://h/p":   "is not https://host:port",
		"s3://b?style=dns":              "neither path nor virtual",
		"s3://b?checksums=no":           "neither on nor off",
		"s3://b/a//b":                   "cannot be a prefix",
		"s3://b/../c":                   "cannot be a prefix",
		"s3://b#x":                      "#",
		"s3://b?endpoint=https://u:p@h": "is not https://host:port",
	} {
		if _, _, err := parseURL(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestWhatIsSaidOfAURLHoldsNoSecret(t *testing.T) {
	for _, raw := range []string{
		"s3://key:hunter2@b/p", "s3://key:hunter2@b:x%zz", "s3://b?endpoint=https://u:hunter2@h", "s3://b?endpoint=https://u:hunter2@h%zz",
		"https://key:hun@hunter2@b", "s3://key:hunter2@b\x00",
	} {
		_, err := Open(t.Context(), raw)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "archive ") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"s3://b/p?endpoint=http://h:1&region=x", "file:///a/b", "s3://", "::", "s3://b?ca=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		dir, o, err := parseURL(raw)
		if err == nil && dir == "" && (o.Bucket == "" || o.Prefix != "" && !ValidKey(o.Prefix)) {
			t.Errorf("%q: %+v", raw, o)
		}
	})
}
