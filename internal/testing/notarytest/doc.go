// Package notarytest is a Notary v1 server in this process and a publisher for it, so
// that tests, benchmarks and the demonstration need neither a container nor a network.
//
// The server speaks the routes of notary-server 0.7: trust data by role, by version and by
// checksum, publishing, deletion, both changefeeds, server-held keys, and docker's token
// authentication when asked for. What is published is verified as the real server does it,
// with notary's own builder; snapshot and timestamp are signed here, as docker's default has it.
//
// A Repository publishes as the docker client does, through notary's own client, but
// straight into the server's memory: no TLS, no tokens, no hook, nothing counted. So
// Server.Requests tells what the code under test asked for, and a fault that a test injects
// never breaks the test's own preparation.
//
// The tampering methods of Repository do what somebody could do who holds the keys named in
// their comments: the files around a forged one are signed again and stay consistent. They
// build on what is published at that moment, so several can be combined; break the outer
// file (timestamp, then snapshot) last, because forging an inner one signs it anew. A
// repository whose files no longer verify can be tampered with further, but Publish
// refuses it, as docker does.
//
// Not promised: a file whose expiry has passed is never signed again by a mere GET (the real
// server does that with its own two roles), tokens do not expire, nothing is on disk.
//
// A Server and a Repository may be used from several goroutines at once. Two publishers of
// one GUN race as on the real server: one of them may be told that its version is old.
package notarytest
