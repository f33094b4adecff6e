// Package monitor shows operators a run over HTTP: metrics for Prometheus, and a health page.
//
// Its callers report what happens, and it keeps counts. No tag or digest is a label: there may be tens of thousands,
// and a report names them. Repositories are labels when both sides are compared, since whoever is alerted must know
// which. Nothing it shows is secret, and no request changes anything.
package monitor
