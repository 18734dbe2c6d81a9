package netsim

import (
	"log/slog"
	"time"
)

// Options configures a Network. The zero value is usable: one host, ten accounts.
type Options struct {
	Seed     uint64 // same seed, same network
	Hosts    int    // default 1
	Accounts int    // accounts per host at the start, default 10
	// Records is the mean number of records that an account has before its first
	// event; real ones vary from a tenth to ten times of it. Default 300, which
	// gives frames of 3 to 5 kB. It costs about 200 bytes of memory a record,
	// for accounts that emitted something.
	Records int
	// Skew is the exponent of the zipf distribution of activity over accounts,
	// above 1. Default 1.1.
	Skew float64
	// Churn is the share of events of Step that are not commits (#identity, #account,
	// #sync, a new account, an account that leaves and comes back). Default 0.02;
	// below 0 means none.
	Churn float64
	// Settled means that no account comes or leaves.
	Settled bool
	// DialectRate is the share of commits of Step that are written in a random
	// dialect. Default 0: use Host.SetDialect or Host.Speak by hand.
	DialectRate float64
	// LieRate is the share of events of Step that are lies. Default 0.
	LieRate float64
	// LegacyDocs is the share of accounts whose DID document has the form of 2019.
	// Default 0.25; below 0 means none.
	LegacyDocs float64

	// PLCListen is the address of the PLC directory, default 127.0.0.1:0.
	PLCListen string
	// Listen holds the IP addresses that hosts listen on in turn, each on a port of its
	// own. Default 127.0.0.1.
	Listen []string
	// TLS makes hosts speak https, with a certificate of Network.CA.
	TLS bool
	// BasePort is the port of the first host; the next ones count up. 0 means any free.
	BasePort int
	// Offline opens no listener: the network only makes events.
	Offline bool

	// WallClock takes the time of events from the machine. Otherwise time is virtual:
	// it begins at Start (default 2026-01-01) and moves by ClockStep (default 5 ms)
	// with each event. In virtual time frames are the same from run to run. With the
	// wall clock Start is when the network came into being, by default now.
	WallClock bool
	Start     time.Time
	ClockStep time.Duration

	// SpoolDir holds the temporary file of sent frames, default os.TempDir().
	SpoolDir string
	Logger   *slog.Logger // default: discard
}

// EnsureDefaults fills the fields that are zero.
func (o *Options) EnsureDefaults() {
	o.Hosts = max(o.Hosts, 1)
	o.Accounts = orDefault(o.Accounts, 10)
	o.Records = orDefault(o.Records, 300)
	o.Skew = orDefault(o.Skew, 1.1)
	o.Churn = orDefault(o.Churn, 0.02)
	o.LegacyDocs = orDefault(o.LegacyDocs, 0.25)
	o.PLCListen = orDefault(o.PLCListen, "127.0.0.1:0")
	o.ClockStep = orDefault(o.ClockStep, 5*time.Millisecond)
	if len(o.Listen) == 0 {
		o.Listen = []string{"127.0.0.1"}
	}
	if o.Start.IsZero() && o.WallClock {
		o.Start = time.Now()
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
