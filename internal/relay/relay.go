package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cistern-archive/cistern/internal/accounts"
	"github.com/cistern-archive/cistern/internal/admin"
	"github.com/cistern-archive/cistern/internal/collections"
	"github.com/cistern-archive/cistern/internal/config"
	"github.com/cistern-archive/cistern/internal/crawl"
	"github.com/cistern-archive/cistern/internal/dashboard"
	"github.com/cistern-archive/cistern/internal/identity"
	"github.com/cistern-archive/cistern/internal/ingest"
	"github.com/cistern-archive/cistern/internal/ledger"
	"github.com/cistern-archive/cistern/internal/metrics"
	"github.com/cistern-archive/cistern/internal/operator"
	"github.com/cistern-archive/cistern/internal/xrpc"
	"github.com/cistern-archive/cistern/replay"
	"github.com/cistern-archive/cistern/segmentlog"
	"github.com/cistern-archive/cistern/segmentlog/ship"
)

// How long each step of a shutdown may take: together under the 10 s that service
// managers wait.
const (
	stopIngest    = 4 * time.Second
	stopConsumers = 3 * time.Second
	stopHTTP      = time.Second
)

const (
	// pendingBytes bounds what waits for the disk, twice: one batch is written while the
	// next one gathers. A disk that takes 100 ms for a sync still takes 80 MB/s.
	pendingBytes = 8 << 20
)

// Relay is a running relay.
type Relay struct {
	cfg config.Config
	log *slog.Logger
	reg *prometheus.Registry

	upstreams []string // relays that are followed, as the log writes them; nil where hosts are crawled

	events   *segmentlog.Log
	ledger   *ledger.Ledger
	journal  *operator.Journal
	crawler  *crawl.Crawler
	resolver *identity.Resolver
	intake   intake
	archive  archive

	consumers consumers
	position  position
	counted   counted
	health    health
	pages     *dashboard.Dashboard

	collections *collections.Refresher

	failed   chan struct{} // closed when the relay must end
	stopping chan struct{} // closed by Stop
	watch    sync.WaitGroup

	public, private net.Listener
	servers         []*http.Server
	serving         errgroup.Group
}

// Start opens the log and listens; hosts are read as soon as derived state has caught
// up with the log. The start may wait for the archive until ctx ends. End the relay with
// Stop.
func Start(ctx context.Context, cfg config.Config, logger *slog.Logger) (*Relay, error) {
	r := &Relay{cfg: cfg, log: logger, reg: metrics.NewRegistry(), failed: make(chan struct{}), stopping: make(chan struct{})}
	r.archive.logger, r.archive.reg = logger, r.reg
	if err := r.start(ctx); err != nil {
		_ = r.Stop() // what started is ended; the start's error says more
		return nil, err
	}
	return r, nil
}

func (r *Relay) start(ctx context.Context) error {
	var err error
	if r.upstreams, err = relayNames(&r.cfg.Upstream); err != nil {
		return err
	}
	if err := r.archive.attach(ctx, &r.cfg, r.numbersOf()); err != nil {
		return err
	}
	if err := r.openLog(); err != nil {
		return err
	}
	r.openLedger()
	r.openConsumers()
	if err := r.openIntake(ctx); err != nil {
		return err
	}
	r.position.source, r.position.shipper = r.consumers.source, r.archive.shipper
	r.openPages()
	if err := r.listen(); err != nil {
		return err
	}
	r.archive.start(r.events, r.keepCheckpoints, r.collections.Run)
	r.watch.Go(r.watchFailures)
	r.intake.start()
	r.log.Info("cistern is running", "version", config.Version, "stream", r.events.Stream().ID, "tip", r.events.Tip(),
		"bind", r.Addr())
	return nil
}

// openLog opens the log and what consumers are served from.
func (r *Relay) openLog() error {
	began := time.Now()
	o := segmentlog.Options{
		Dir: r.cfg.DataDir, Numbers: r.numbersOf(), Logger: r.log, InitialSeq: r.cfg.InitialSeq, Events: metrics.LogEvents(r.reg),
		OnCommit:        func(b segmentlog.Batch) { r.consumers.commit(b); r.intake.notify() },
		MaxPendingBytes: pendingBytes, MaxHotBytes: r.cfg.SegmentBytes, SegmentAge: r.cfg.SegmentAge, Seal: r.sealing(),
	}
	r.archive.options(&o)
	r.counted.commits(&o.Events)
	r.health.follow(&o.Events)
	opened := make(chan struct{})
	defer close(opened)
	sealed := o.Events.Seal
	o.Events.Seal = func(i segmentlog.SealInfo) { // what an earlier run left may be sealed before Open returns
		<-opened
		sealed(i)
	}
	log, err := segmentlog.Open(o)
	if err != nil {
		return err
	}
	r.events = log
	r.archive.shipper = ship.NewShipper(ship.ShipperOptions{
		Archive: r.archive.held, Log: log, Rate: r.cfg.Archive.ShipBytes, Logger: r.log, Events: metrics.ShipEvents(r.reg),
	})
	r.archive.budget(log, r.cfg.DataDir)
	r.consumers.openSource(log, &r.cfg.Replay)
	metrics.LogGauges(r.reg, log)
	r.log.Info("log opened", "dir", r.cfg.DataDir, "oldest", log.Oldest(), "tip", log.Tip(), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// sealing is how segments are made: a machine that cannot afford signatures cannot afford
// the last hundredth of their size either.
func (r *Relay) sealing() *segmentlog.SegmentOptions {
	o := &segmentlog.SegmentOptions{}
	if r.cfg.Verify == config.VerifyOff {
		o.Level = zstd.SpeedFastest
	}
	return o
}

// openIntake prepares the reading of hosts, which begins in the background.
func (r *Relay) openIntake(ctx context.Context) error {
	var err error
	r.resolver, err = identity.New(identity.Options{
		PLCHosts: r.cfg.PLCHosts, PLCRate: r.cfg.Identity.PLCRate, CacheBytes: r.cfg.Identity.CacheBytes,
		Dir:       filepath.Join(r.cfg.DataDir, identityFolder),
		UserAgent: config.ServerName(), Registerer: r.reg, Logger: r.log,
	})
	if err != nil {
		return err
	}
	if err := r.openJournal(ctx); err != nil {
		return err
	}
	if err := r.openCrawler(); err != nil {
		return err
	}
	r.openCollections()
	r.intake.synced = r.collections.Synced
	r.intake.log, r.intake.logger, r.intake.dir = r.events, r.log, filepath.Join(r.cfg.DataDir, indexFolder)
	r.intake.options = func(o *ingest.Options) {
		o.Ledger = r.ledger
		if r.archive.disk != nil {
			o.Pace = pacers{o.Pace, r.archive.disk}
		}
		o.Resolver, o.UserAgent, o.Lenient = r.resolver, config.ServerName(), r.cfg.Verify == config.VerifyLenient
		o.Observer, o.Rates, o.AccountLimit = r.crawler, r.crawler.Rates, r.crawler.AccountLimit
	}
	if r.cfg.Upstream.KeepSeq() {
		r.intake.prepare, r.intake.unlogged = r.takeDownFirst, r.keepLocal
	}
	r.intake.begin, r.intake.restore, r.intake.survey = r.beginCrawl, r.restoreIndex, r.consumers.survey
	return nil
}

func (r *Relay) listen() error {
	var err error
	if r.public, err = listenTCP(r.cfg.Bind); err != nil {
		return fmt.Errorf("--bind: %w", err)
	}
	r.serve(r.public, xrpc.NewHandler(xrpc.Parts{
		SubscribeRepos: r.consumers.server,
		Archive:        r.downloads(),
		Pages:          r.pages.Public(),
		HostLedger:     r.ledger,
		Relays:         r.upstreams,
		Admin: admin.NewHandler(r.cfg.AdminPasswords, admin.Sources{
			Hosts: r.crawler, Consumers: r.Consumers, Takedowns: r, Collections: r, Quarantine: r.ledger.Quarantine().List, Pages: r.pages.Admin(),
		}),
		Hosts:   r.crawler,
		Repos:   r,
		Stream:  &r.position,
		Proxies: r.cfg.Crawl.Proxies,
		Healthy: r.Healthy, Ready: r.Ready,
	}))
	if r.cfg.MetricsListen == "" {
		return nil
	}
	if r.private, err = listenTCP(r.cfg.MetricsListen); err != nil {
		return fmt.Errorf("--metrics-listen: %w", err)
	}
	r.serve(r.private, metrics.Handler(r.reg, &r.intake))
	return nil
}

func listenTCP(addr string) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(context.Background(), "tcp", addr)
}

func (r *Relay) serve(l net.Listener, h http.Handler) {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	r.servers = append(r.servers, s)
	r.serving.Go(func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// Addr is the address of the public listener.
func (r *Relay) Addr() string { return r.public.Addr().String() }

// MetricsAddr is the address of the metrics listener, "" when there is none.
func (r *Relay) MetricsAddr() string {
	if r.private == nil {
		return ""
	}
	return r.private.Addr().String()
}

// Log is the relay's log.
func (r *Relay) Log() *segmentlog.Log { return r.events }

// Hosts lists the hosts that are crawled.
func (r *Relay) Hosts() []ingest.HostInfo { return r.intake.hosts() }

// Consumers lists who is connected.
func (r *Relay) Consumers() []replay.ConsumerInfo { return r.consumers.server.Consumers() }

// Account returns what is known of an account, and whether anything is; an error when
// that cannot be told for the moment.
func (r *Relay) Account(did string) (accounts.Account, bool, error) { return r.intake.account(did) }

// Failed is closed when the log can no longer be written, or is no longer ours to
// write; Stop then says why.
func (r *Relay) Failed() <-chan struct{} { return r.failed }

// watchFailures closes failed; it ends with the log.
func (r *Relay) watchFailures() {
	select {
	case <-r.events.Failed():
	case <-r.archive.lost():
		r.log.Error("the relay ends", "err", r.archive.held.Err())
	case <-r.stopping:
		return
	}
	close(r.failed)
}

// Stop ends the relay: stop reading, let the log take what is verified, sync and
// close it, send consumers the rest, close them with 1012. It returns the log's
// failure when it had one.
func (r *Relay) Stop() error {
	var errs []error
	close(r.stopping)
	r.watch.Wait()
	r.intake.stop()
	closed := r.closeLedger()
	var resolver sync.WaitGroup
	if r.resolver != nil {
		resolver.Go(r.resolver.Close) // its store may wait for the disk
	}
	defer resolver.Wait()
	if r.journal != nil {
		errs = append(errs, r.journal.Close())
	}
	if r.events != nil {
		errs = append(errs, r.events.Close())
		errs = append(errs, r.archive.stop(r.events.Tip()))
	} else {
		errs = append(errs, r.archive.stop(0))
	}
	if r.consumers.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopConsumers)
		r.consumers.server.Shutdown(ctx)
		cancel()
	}
	r.consumers.close()
	if r.pages != nil {
		r.pages.Close()
	}
	for _, s := range r.servers {
		ctx, cancel := context.WithTimeout(context.Background(), stopHTTP)
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, s.Close())
		}
		cancel()
	}
	errs = append(errs, r.serving.Wait(), r.archive.close())
	<-closed
	return errors.Join(errs...)
}
