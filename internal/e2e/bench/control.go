//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const controlName = "Servers"

// Address is where the servers are and whom to trust for them.
type Address struct {
	Notary string // URL
	Host   string // of the registry
	CA     []byte // PEM of both authorities
	Open   bool   // whether the Notary server gives anybody a token, and then to nobody by name
}

// Publication asks for images of DCT: so many, spread over so many repositories.
type Publication struct {
	Name         string
	Repositories int
	Images       int
	Tags         int  // of each image; 0: one
	Signers      int  // of each repository, as docker trust signer add makes them
	TrustOnly    bool // trust data of images that the registry does not have
}

// delegations is how many each repository publishes: a role for each signer, and
// targets/releases.
func (p Publication) delegations() int {
	if p.Signers == 0 {
		return 0
	}
	return p.Signers + 1
}

// Published is what there is to sign.
type Published struct {
	References []string            // host/repository@digest
	GUNs       []string            // the repositories
	Pins       map[string][]string // root key ids by GUN
}

// Counts are the requests that arrived so far, those for tokens and refused ones included.
type Counts struct {
	Registry, Notary int64
	Trust            int64 // those to Notary without what authentication costs
	Connections      int64 // to Notary
}

// since is what arrived after an earlier count.
func (c Counts) since(before Counts) Counts {
	return Counts{c.Registry - before.Registry, c.Notary - before.Notary, c.Trust - before.Trust, c.Connections - before.Connections}
}

// Control is what the benchmark may ask of the servers' process. Its methods are those of
// net/rpc and are called from several goroutines at once.
type Control struct{ servers *servers }

// Address tells where the servers are.
func (c *Control) Address(_ struct{}, out *Address) error {
	s := c.servers
	*out = Address{s.notary.URL(), s.registry.Host(), append(s.notary.CAPEM(), s.registry.CAPEM()...), s.open}
	return nil
}

// Publish stores images and their trust data.
func (c *Control) Publish(p Publication, out *Published) (err error) {
	*out, err = c.servers.publish(p)
	return err
}

// Counts tells what arrived so far.
func (c *Control) Counts(_ struct{}, out *Counts) error {
	*out = c.servers.counts()
	return nil
}

// Requests tells what the registry was asked for so far, by purpose and kind.
func (c *Control) Requests(_ struct{}, out *map[string]int64) error {
	*out = c.servers.diary.countsSoFar()
	return nil
}

// Pushes tells of the signatures that arrived, without the first few.
func (c *Control) Pushes(first int, out *[]Push) error {
	*out = c.servers.diary.pushesFrom(first)
	return nil
}

// Pushed counts them.
func (c *Control) Pushed(_ struct{}, out *int) error {
	*out = c.servers.diary.pushCount()
	return nil
}

// LastTrust tells when Notary was asked last for something of a GUN.
func (c *Control) LastTrust(gun string, out *time.Time) error {
	*out = c.servers.diary.lastTrust(gun)
	return nil
}

// Signed counts the images of a publication with exactly one signature; none may have more.
func (c *Control) Signed(name string, out *int) (err error) {
	*out, err = c.servers.signed(name)
	return err
}

// remote is the servers' process, seen from the benchmark.
type remote struct {
	address Address
	client  *rpc.Client
	process *exec.Cmd
}

// startRemote starts this program again, with the servers. The flags are those of serve.
func startRemote(latency time.Duration, flags ...string) (*remote, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("starting the servers: %w", err)
	}
	c := exec.Command(program, append([]string{serveCommand, "-latency", latency.String()}, flags...)...)
	c.Stderr = os.Stderr
	// Ctrl-C at the terminal is for the benchmark, which ends the servers last.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the servers: %w", err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the servers: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting the servers: %w", err)
	}
	r := &remote{client: jsonrpc.NewClient(pipes{out, in}), process: c}
	if err := r.ask("Address", struct{}{}, &r.address); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// pipes are a child's stdout and stdin as one connection. Only its stdin is closed: the
// child ends then, and Wait closes the rest.
type pipes struct {
	io.Reader
	io.WriteCloser
}

func (r *remote) close() error {
	err := r.client.Close()
	return errors.Join(err, r.process.Wait())
}

func (r *remote) ask(what string, args, answer any) error {
	if err := r.client.Call(controlName+"."+what, args, answer); err != nil {
		return fmt.Errorf("asking the servers for %s: %w", what, err)
	}
	return nil
}

func (r *remote) publish(name string, repositories, images int) (p Published, err error) {
	return r.publishAll(Publication{Name: name, Repositories: repositories, Images: images})
}

func (r *remote) publishAll(what Publication) (p Published, err error) {
	return p, r.ask("Publish", what, &p)
}

func (r *remote) counts() (c Counts, err error) { return c, r.ask("Counts", struct{}{}, &c) }

func (r *remote) signed(name string) (n int, err error) { return n, r.ask("Signed", name, &n) }

func (r *remote) requests() (n map[string]int64, err error) {
	return n, r.ask("Requests", struct{}{}, &n)
}

func (r *remote) pushes(first int) (p []Push, err error) { return p, r.ask("Pushes", first, &p) }

func (r *remote) pushed() (n int, err error) { return n, r.ask("Pushed", struct{}{}, &n) }

func (r *remote) lastTrust(gun string) (at time.Time, err error) {
	return at, r.ask("LastTrust", gun, &at)
}
