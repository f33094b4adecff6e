package comparer

import (
	"slices"
	"testing"

	"github.com/dct2notation/dct2notation/migrate/verify"
)

// No registry goes without its product's checks, whatever products are named.
func TestProductsInUse(t *testing.T) {
	t.Parallel()
	const hub, azure, own = "docker.io", "team.azurecr.io", "registry.example.com"
	for _, c := range []struct{ named, hosts, want []string }{
		{nil, nil, nil},
		{nil, []string{hub}, []string{verify.DockerHub}},
		{nil, []string{azure, hub, own, "other.example.com"}, []string{verify.ACR, verify.DockerHub, verify.SelfHosted}},
		{[]string{verify.DockerHub}, []string{azure, hub}, []string{verify.ACR, verify.DockerHub}},
		{[]string{verify.DockerHub}, []string{own}, []string{verify.DockerHub, verify.SelfHosted}},
		{[]string{verify.Harbor}, []string{hub, own}, []string{verify.DockerHub, verify.Harbor}},
		{[]string{verify.MSR}, []string{own}, []string{verify.MSR}},
	} {
		if got := products(c.named, c.hosts); !slices.Equal(got, c.want) {
			t.Errorf("%v named for %v: got %v, want %v", c.named, c.hosts, got, c.want)
		}
	}
}
