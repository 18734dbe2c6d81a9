package config

import "runtime/debug"

// Version is the program's version; a release build sets it with -ldflags -X.
var Version = "0.1.0-dev"

// ServerName is sent as Server and as User-Agent. "atproto-relay" tells other
// relays not to crawl us as if we were a host.
func ServerName() string { return "cistern/" + Version + " (atproto-relay)" }

// Build describes the binary for `cistern version`: version, Go version and
// revision, as far as the build recorded them.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	s := Version + " " + info.GoVersion
	for _, kv := range info.Settings {
		if kv.Key == "vcs.revision" {
			s += " " + kv.Value
		}
	}
	return s
}
