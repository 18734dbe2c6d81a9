package bucket_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cistern-archive/cistern/segmentlog/bucket"
	"github.com/cistern-archive/cistern/segmentlog/bucket/buckettest"
)

// startGateway runs the Versity S3 gateway over a folder until the test ends, and returns
// what the URL of its bucket has after the prefix.
func startGateway(t *testing.T, flags ...string) (query string) {
	t.Helper()
	program := os.Getenv("CISTERN_VERSITYGW")
	if program == "" {
		t.Skip("CISTERN_VERSITYGW is not set: `make versitygw-check` runs this")
	}
	dir := t.TempDir() // on a file system with extended attributes
	if err := os.Mkdir(filepath.Join(dir, "archive"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "cistern")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "cistern-test-password")
	args := append([]string{"--port", addr, "--access", "cistern", "--secret", "cistern-test-password", "--quiet"}, flags...)
	cmd := exec.Command(program, append(args, "posix", dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exit := make(chan error, 1)
	go func() { exit <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("it had ended: %v", err)
		}
		<-exit //nolint:errcheck // it was killed
	})
	query = "?" + url.Values{"endpoint": {"http://" + addr}, "region": {"us-east-1"}, "style": {"path"}}.Encode()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		b, err := bucket.Open(t.Context(), "s3://archive/p"+query)
		if err == nil {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return query
		}
		if bucket.KindOf(err) != "unavailable" || time.Now().After(deadline) {
			t.Fatalf("the gateway is not ready: %v", err)
		}
		select {
		case err := <-exit:
			exit <- err
			t.Fatalf("the gateway ended: %v", err)
		case <-tick.C:
		}
	}
}

func TestTheVersityGatewayIsABucketWithoutChecksums(t *testing.T) {
	query := startGateway(t) + "&checksums=off"
	n := 0
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		n++
		return openURL(t, fmt.Sprintf("s3://archive/a/prefix-%d%s", n, query))
	})
	if err := bucket.Probe(t.Context(), openURL(t, "s3://archive/probed"+query)); err != nil {
		t.Error(err)
	}
}

func TestTheVersityGatewayWithChecksumsSaysWhatToDo(t *testing.T) {
	b := openURL(t, "s3://archive/p"+startGateway(t))
	if err := bucket.Probe(t.Context(), b); err == nil || !strings.Contains(err.Error(), "checksums=off") {
		t.Errorf("docs/archive.md says that it refuses them: %v", err)
	}
}
