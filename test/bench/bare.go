package main

import (
	"context"
	"errors"
	"os"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"netlab-runner/internal/settings"
)

// The streams of the bare side: those of netlab-api without the transforms of subjects and the republishing.
const (
	bareJobs = "BARE_JOBS"
	bareLogs = "BARE_LOGS"
)

// bareServer is a server with the options of the embedded one, and a connection inside the process.
type bareServer struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

func startBareServer(ctx context.Context, dir string, listen bool) (*bareServer, error) {
	store, err := storeSettings()
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: "bare", JetStream: true, StoreDir: dir, NoSigs: true, MaxPayload: 1 << 20,
		SyncAlways: store.Sync.Always, SyncInterval: store.Sync.Interval,
		DontListen: !listen, Host: "127.0.0.1", Port: server.RANDOM_PORT,
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	go srv.Start()
	b := &bareServer{server: srv}
	if !srv.ReadyForConnections(patience) {
		b.stop()
		return nil, errors.New("the bare server did not start")
	}
	if b.conn, err = nats.Connect("", nats.InProcessServer(srv)); err != nil {
		b.stop()
		return nil, err
	}
	if b.js, err = jetstream.New(b.conn); err != nil {
		b.stop()
		return nil, err
	}
	for _, c := range []jetstream.StreamConfig{
		{Name: bareJobs, Subjects: []string{"bare.*.*.request", "bare.*.*.status"}, MaxBytes: 512 << 20},
		{Name: bareLogs, Subjects: []string{"bare.*.*.log"}, MaxBytes: 4 << 30, Compression: jetstream.S2Compression},
	} {
		c.Storage, c.Discard, c.MaxMsgSize, c.AllowDirect = jetstream.FileStorage, jetstream.DiscardNew, 512<<10, true
		if _, err := b.js.CreateStream(ctx, c); err != nil {
			b.stop()
			return nil, err
		}
	}
	return b, nil
}

// storeSettings are those of a server that netlab-api embeds.
func storeSettings() (*settings.Store, error) {
	program, err := settings.ParseAPI(settings.Invocation{Args: syncArguments(), Stdout: os.Stderr, Version: "bench"})
	if err != nil {
		return nil, err
	}
	return &program.Store, nil
}

func (b *bareServer) stop() {
	if b.conn != nil {
		b.conn.Close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
