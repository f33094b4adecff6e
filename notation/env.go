package notation

import (
	"os"
	"slices"
	"strings"
)

// A plugin gets the variables it needs to find its files, its network and its service, and no others: the rest of our
// environment, including registry passwords, does not concern it.
var (
	pluginEnv = []string{
		"PATH", "HOME", "USER", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"SOFTHSM2_CONF", "NOTATION_CONFIG", "NOTATION_CACHE", "NOTATION_LIBEXEC",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "DEFAULT_IDENTITY_CLIENT_ID", "MSI_ENDPOINT", "MSI_SECRET",
		"ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE", "LD_LIBRARY_PATH", "CLR_ICU_VERSION_OVERRIDE",
	}
	pluginEnvPrefixes = []string{
		"XDG_", "LC_", "AZURE_", "AWS_", "VAULT_", "ALIBABA_CLOUD_", "GOOGLE_", "CLOUDSDK_", "VENAFI_", "DOTNET_", "PKCS11_", "NOTATION_PKCS11_",
	}
)

// pluginEnviron returns this process's variables that a plugin may see; extra names more of them.
func pluginEnviron(extra []string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		prefixed := slices.ContainsFunc(pluginEnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if prefixed || slices.Contains(pluginEnv, name) || slices.Contains(extra, name) {
			env = append(env, kv)
		}
	}
	return env
}
