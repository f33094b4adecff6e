// Package cluster shows that Kubernetes enforces the files that dct2notation policy writes for it.
// Each test starts its own API server with etcd, and the consumer as a process beside it, all on
// 127.0.0.1 and without containers. The consumer reads the files as they were written. The test
// then creates Pods whose images are in two registries, one with the referrers API and one without.
//
// The programs are built once from their Go modules, into the user's cache folder: make
// e2e-policy-cluster says what this needs.
//
// No kubelet, scheduler or controller runs. The tests show what the API server admits, and what
// verify --images and ready --running make of the list of its Pods.
package cluster
