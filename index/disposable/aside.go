package disposable

import (
	"errors"

	"github.com/cistern-archive/cistern/segmentlog"
)

// clearOut takes everything but the lock file, which is held, out of the directory: away,
// or into another one. It is synced, so that nothing comes back beside a new store.
func clearOut(opts Options) error {
	if opts.SetAside == "" {
		return each(opts, func(name string) error { return opts.FS.RemoveAll(opts.FS.PathJoin(opts.Dir, name)) })
	}
	if err := opts.FS.MkdirAll(opts.SetAside, 0o755); err != nil {
		return err
	}
	// A crash between two files leaves half a store, which the next Open must not take
	// for a whole one: the mark of a damaged store goes last.
	markSpoiled(&opts)
	if err := segmentlog.SyncDir(opts.FS, opts.Dir); err != nil {
		return err
	}
	move := func(name string) error {
		return opts.FS.Rename(opts.FS.PathJoin(opts.Dir, name), opts.FS.PathJoin(opts.SetAside, name))
	}
	err := each(opts, func(name string) error {
		if name == SpoiledFile {
			return nil
		}
		return move(name)
	})
	if err != nil {
		return err
	}
	if err := move(SpoiledFile); err != nil {
		return err
	}
	return errors.Join(segmentlog.SyncDir(opts.FS, opts.SetAside), segmentlog.SyncDir(opts.FS, opts.Dir), segmentlog.SyncDir(opts.FS, opts.FS.PathDir(opts.SetAside)))
}

// each calls f with every file of the directory but the lock, and syncs it then.
func each(opts Options, f func(name string) error) error {
	names, err := opts.FS.List(opts.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		if err := f(name); err != nil {
			return err
		}
	}
	return segmentlog.SyncDir(opts.FS, opts.Dir)
}
