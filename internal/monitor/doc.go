// Package monitor shows a run to those who watch over it: metrics for Prometheus, and whether
// it is well, over HTTP.
//
// It is told what happens and keeps counts. No repository, tag or digest is a label: there
// may be ten thousands of them, and a report names them. What it shows is not secret, and
// nothing that is sent to it changes anything.
package monitor
