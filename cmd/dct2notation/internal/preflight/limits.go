package preflight

import "strings"

// knownLimits names what operators of well-known registries are known to limit. The numbers
// change: they are the reader's to look up.
func knownLimits(host string) []string {
	switch {
	case host == "docker.io":
		return []string{"Docker Hub limits pulls for each account or address: log in; looking an image up by its digest does not count as one"}
	case strings.HasSuffix(host, ".azurecr.io"):
		return []string{"Azure limits write operations by the registry's tier (Basic 100, Standard 500, Premium 2000 a minute were published), and a signature takes two or three: --registry-rate keeps below it"}
	case strings.Contains(host, ".dkr.ecr.") && strings.Contains(host, ".amazonaws.com"):
		return []string{"Amazon counts each signature as an image of the repository; over the quota of images in a repository a push is answered with 403"}
	case host == "ghcr.io":
		return []string{"GitHub has no referrers API and refuses to delete manifests: signatures go under tags, and old lists of them stay behind untagged"}
	}
	return nil
}
