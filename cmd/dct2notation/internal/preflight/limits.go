package preflight

import "strings"

// knownLimits returns the known limits of well-known registries. The numbers change: the reader must look up the
// current ones.
func knownLimits(host string) []string {
	switch {
	case host == "docker.io":
		return []string{"Docker Hub limits pulls per account or address: log in; looking up a digest does not count as a pull"}
	case strings.HasSuffix(host, ".azurecr.io"):
		return []string{"Azure limits write operations by registry tier (published: Basic 100, Standard 500, Premium 2000 per minute), and a signature takes two or three: stay below with --registry-rate"}
	case strings.Contains(host, ".dkr.ecr.") && strings.Contains(host, ".amazonaws.com"):
		return []string{"Amazon counts each signature as an image of the repository; over the quota of images in a repository a push is answered with 403"}
	case host == "ghcr.io":
		return []string{"GitHub has no referrers API and refuses to delete manifests: signatures are listed under tags, and old lists stay behind untagged"}
	}
	return nil
}
