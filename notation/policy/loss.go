package policy

// What every consumer loses: Notation signs a digest, but not when or under which name to use it.
var (
	lostFreshness = Loss{"Freshness: DCT's timestamp expired after 14 days, a Notation signature is good as long as its certificate",
		"run with --expiry, or with short-lived certificates and a time-stamping authority"}
	lostRollback = Loss{"Protection from rollback and freeze: an older image that was signed passes again",
		"deploy by digest, and delete the signatures of images that must not run any more"}
	lostThreshold = Loss{"Thresholds and several signers: any one signature of those below passes",
		"two policies that must both pass, as two admission controllers"}
	lostWithdrawal = Loss{"Withdrawal by removing a target: the signature goes on to be good",
		"dct2notation undo or notation delete the signature, or have the certificate revoked"}
	lostRoot = Loss{"A root key that survives the loss of all others: there is no rotation",
		"have the authority revoke the certificate and issue another, and write this policy anew"}
)

func lostTag(instead string) Loss {
	return Loss{"The binding of a tag to a digest: a tag that was moved to another signed image of the repository passes", instead}
}

// lost returns the losses of every consumer, after this consumer's own.
func lost(own ...Loss) []Loss {
	return append(own, lostFreshness, lostRollback, lostThreshold, lostWithdrawal, lostRoot)
}

// lostIdentity is the loss if certificates are pinned because the consumer has no identities.
var lostIdentity = Loss{"A renewed certificate is not trusted by itself: this consumer knows no identities, so the very certificates below are pinned",
	"write this policy anew when a certificate is renewed, with both, before the new one signs; or, if the authority issues to the key alone, --dedicated-ca"}
