package cluster

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The administrator's token of every cluster here. The cluster listens on 127.0.0.1, and lives for
// one test.
const token = "administrator"

// cluster is an empty API server.
type cluster struct {
	*client
	kubeconfig string
}

func newCluster(t *testing.T, tls *authority) *cluster {
	t.Helper()
	// Both are built before either starts.
	etcd.binary(t)
	apiserver.binary(t)
	store := "http://127.0.0.1:" + freePort(t)
	peers := "http://127.0.0.1:" + freePort(t)
	data := start(t, etcd, nil, "--data-dir=data", "--listen-client-urls="+store, "--advertise-client-urls="+store,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers, "--unsafe-no-fsync", "--log-level=warn")
	awaited(t, time.Minute, "etcd", func() error { return healthy(http.DefaultClient, store+"/health") }, data)

	folder, port := tls.issue(t), freePort(t)
	crt, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	tokens := filepath.Join(folder, "tokens.csv")
	must(t, os.WriteFile(tokens, []byte(token+`,admin,1,"system:masters"`+"\n"), 0o600))
	server := start(t, apiserver, nil, "--etcd-servers="+store, "--bind-address=127.0.0.1", "--secure-port="+port,
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", "--cert-dir="+folder, "--tls-cert-file="+crt, "--tls-private-key-file="+key,
		"--token-auth-file="+tokens, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+crt, "--service-account-signing-key-file="+key,
		// Nothing else creates the account that every Pod needs.
		"--disable-admission-plugins=ServiceAccount")
	c := &cluster{client: &client{base: "https://127.0.0.1:" + port, http: &http.Client{Transport: &http.Transport{TLSClientConfig: tls.client()}}}}
	awaited(t, 2*time.Minute, "the API server", func() error {
		status, answer := c.do(t, "GET", "/readyz", "", nil)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	}, server)
	c.kubeconfig = filepath.Join(folder, "kubeconfig")
	must(t, os.WriteFile(c.kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: admin, user: {token: %q}}]
`, c.base, tls.file(), token), 0o600))
	return c
}

// healthy reports whether a server says so.
func healthy(c *http.Client, url string) error {
	answer, err := c.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, answer.Status, body)
	}
	return err
}
