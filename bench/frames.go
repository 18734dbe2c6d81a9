package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cistern-archive/cistern/internal/netsim"
)

// frames returns the file of generated frames, made now if the cache has none.
func frames(ctx context.Context, o options) (string, error) {
	path := o.framesFile()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	progress("generating %d frames into %s (once)", o.events, path)
	tmp, began := fmt.Sprintf("%s.%d", path, os.Getpid()), time.Now()
	made := make(chan error, 1)
	go func() { made <- netsim.Generate(tmp, o.network(), o.events) }()
	select {
	case err := <-made:
		if err != nil {
			return "", errors.Join(err, os.Remove(tmp))
		}
	case <-ctx.Done(): // Generate cannot be told; the process is about to end
		return "", errors.Join(context.Cause(ctx), os.Remove(tmp))
	}
	progress("generated in %s", time.Since(began).Round(time.Second))
	return path, os.Rename(tmp, path)
}

// progress tells the person who waits.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
