// Package miniotest runs a real MinIO server for tests. The program is what the
// environment variable CISTERN_MINIO names (scripts/minio prints it); without it tests
// skip, and under CI they fail.
package miniotest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"
)

// Who the server lets in.
const (
	User     = "cistern"
	Password = "cistern-test-password"
	Bucket   = "archive"
)

// Server is a MinIO server with one bucket and a folder of its own.
type Server struct {
	t       testing.TB
	program string
	dir     string
	Addr    string // host:port, the same after a restart
	client  *minio.Client
	cmd     *exec.Cmd
	exit    chan error
}

// Start runs a server until the test ends, and sets the environment that AWS's tools
// read to its credentials.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartIn(t, t.TempDir())
}

// StartIn is Start with the server's data in dir.
func StartIn(t testing.TB, dir string) *Server {
	t.Helper()
	program := os.Getenv("CISTERN_MINIO")
	if program == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("CISTERN_MINIO is not set: run the tests with make")
		}
		t.Skip("CISTERN_MINIO is not set: `make test` runs this with a real server")
	}
	s := &Server{t: t, program: program, dir: dir, Addr: freeAddr(t)}
	if setter, ok := t.(interface{ Setenv(key, value string) }); ok {
		setter.Setenv("AWS_ACCESS_KEY_ID", User)
		setter.Setenv("AWS_SECRET_ACCESS_KEY", Password)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(s.Kill)
	var err error
	s.client, err = minio.New(s.Addr, &minio.Options{Creds: credentials.NewStaticV4(User, Password, ""), Transport: transport, MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Restart()
	ctx := context.Background()
	if ok, err := s.client.BucketExists(ctx, Bucket); err != nil {
		t.Fatal(err)
	} else if !ok {
		if err := s.client.MakeBucket(ctx, Bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// freeAddr returns an address whose port no outgoing connection is given, so that it is
// free after a restart.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_768)))
		l, err := net.Listen("tcp", addr) //nolint:noctx // at once
		if err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return addr
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port")
	return ""
}

// URL names the bucket, and a prefix in it, for bucket.Open.
func (s *Server) URL(prefix string) string { return s.URLAt("http://"+s.Addr, prefix) }

// URLAt is URL through another endpoint, such as a proxy.
func (s *Server) URLAt(endpoint, prefix string) string {
	q := url.Values{"endpoint": {endpoint}, "region": {"us-east-1"}, "style": {"path"}}
	return fmt.Sprintf("s3://%s/%s?%s", Bucket, prefix, q.Encode())
}

// Kill ends the server at once.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	if err := <-s.exit; err == nil {
		s.t.Log("MinIO had ended by itself")
	}
	s.cmd = nil
}

// Pause stops the server's process where it stands, Resume lets it go on. When it
// returns every thread has stopped: a signal alone is only on its way.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for { // waitid(2) reports a stop when the last thread has stopped
		err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			s.t.Fatalf("MinIO does not stop: %v", err)
		}
	}
}

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts a server that was killed and waits until it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	cmd := exec.Command(s.program, "server", "--quiet", "--address", s.Addr, s.dir) //nolint:noctx // Kill ends it
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+User, "MINIO_ROOT_PASSWORD="+Password, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.exit = cmd, make(chan error, 1)
	go func(exit chan error) { exit <- cmd.Wait() }(s.exit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := s.client.BucketExists(context.Background(), Bucket) // its health page says ready before it is
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("MinIO is not ready within a minute: %v", err)
		}
		select {
		case err := <-s.exit:
			s.t.Fatalf("MinIO ended: %v", err)
		case <-tick.C:
		}
	}
}
