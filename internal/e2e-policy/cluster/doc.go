// Package cluster shows that the files which dct2notation policy writes for Kubernetes are
// obeyed there. Each test starts an API server of its own with etcd, and the consumer as a
// process beside it, all on 127.0.0.1 and without containers; has the consumer read the files
// as they were written; and creates Pods whose images lie in two registries, one with the
// referrers API and one without.
//
// The programs are built from their Go modules, once, into the user's cache folder:
// make e2e-policy-cluster says what it takes.
//
// No kubelet, scheduler or controller runs: what is shown is what the API server admits, and what verify
// --images and ready --running make of the list of its Pods.
package cluster
