package preflight

import "strings"

// knownLimits names what operators of well-known registries are known to limit. The numbers
// change: they are the reader's to look up.
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
