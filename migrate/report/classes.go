package report

import (
	"cmp"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// This file says what the classes mean and what to do about them, for people who meet them first. The HTML report
// shows it, and docs/reference/classes.md is generated from it.

// meanings are the meanings of the classes of a result's rows.
var meanings = map[string]map[string]string{
	OfVerify: {
		"agree":            "DCT and Notation vouch for the digest that the tag has",
		"unsigned":         "neither side vouches for the tag",
		"dct-only":         "DCT vouches for it, but it has no Notation signature",
		"notation-only":    "Notation trusts it, but DCT does not",
		"conflict":         "DCT and Notation vouch for different digests",
		"tag-moved":        "the tag's digest is not the one that DCT vouches for, and Notation does not trust it",
		"missing":          "the registry lacks the digest or the tag",
		"untrusted":        "it has Notation signatures, but the trust policy trusts none of them",
		"broken-signature": "one signature is good, but notation verify rejects the image because of another",
		"expired":          "it would be trusted, but a certificate, signature or trust data has expired",
		"unknown":          "it could not be checked",
		"not looked at":    "part of the repository was not checked",
	},
	OfRun: {
		"signed":        "signed by this run, and the registry lists it",
		"already":       "signed before, as the ledger or the registry says",
		"replayed":      "signed by an earlier run, pushed by this one",
		"skipped":       "not signed, because it cannot or need not be",
		"failed":        "not signed: something failed",
		"not looked at": "part of the repository was not checked",
	},
}

// remedies say what to do about a class of a verification.
var remedies = map[verify.Class]string{
	verify.Conflict:     "Find out which of the two digests is right, and point the tag at it. Then remove what vouches for the other: its target in DCT, or its Notation signature.",
	verify.NotationOnly: "Find out who signed it with Notation. If DCT has withdrawn it, delete that signature (dct2notation undo); if it is to be trusted, sign it in DCT or waive it.",
	verify.Untrusted:    "See who signed it (dct2notation inspect IMAGE). Correct the trust policy, or sign it again with a key that the policy trusts.",
	verify.Broken:       "Delete the entry that the reason names from the registry, and verify again.",
	verify.Moved:        "Point the tag at the digest that DCT vouches for again, or have its owner sign the new digest in DCT and run again.",
	verify.Expired:      "Sign it again with a certificate that is valid, or with a timestamp.",
	verify.DCTOnly:      "Sign it: dct2notation run. If nobody needs the tag any more, remove its target from DCT or waive it.",
	verify.Gone:         "Push the image again, remove its target from DCT, or waive it.",
	verify.Unknown:      "Do what the reason says, then verify again: unknown cannot be waived.",
}

// failureMeanings are the meanings of the classes of an item that was not signed, or a repository that was not read.
var failureMeanings = map[failure.Class]string{
	failure.Missing:     "the registry lacks the image that DCT vouches for",
	failure.Unsignable:  "it is of Docker schema 1, whose digest is not the hash of its bytes",
	failure.NotPlanned:  "the reviewed plan (--plan) does not sign it",
	failure.NotAsked:    "--only does not name it, and it is not signed yet",
	failure.PlanUnknown: "when the reviewed plan (--plan) was made, it was unknown whether it is signed",
	failure.Transient:   "a server or a key did not answer, or had a temporary failure",
	failure.Throttled:   "a server or a key asks for fewer requests",
	failure.Denied:      "a server or a key refuses the account",
	failure.Full:        "the registry has no room for signatures",
	failure.Permanent:   "it failed, and trying again will not help",
	failure.Security:    "a signature, digest, version or root is wrong",
	failure.Expired:     "trust data has expired",
	failure.Unsigned:    "the repository has no trust data",
	failure.Unpinned:    "nothing vouches for the root of the repository",
	failure.Incomplete:  "the Notary server lost a file of the repository",
	failure.NotNotary:   "there is no Notary server at that address",
	failure.PlanChanged: "it has changed since the reviewed plan (--plan) was made",
	failure.NoKey:       "the configuration has no key for the repository, or for one of its roles",
	failure.Unsupported: "the registry does not support this",
}

// failureRemedies say what to do if trust data was not read or an image was not signed.
var failureRemedies = map[failure.Class]string{
	failure.Missing:     "Push the image again, or remove its target from DCT.",
	failure.Unsignable:  "Push the image again in a current format, and sign it in DCT.",
	failure.NotPlanned:  "Make the plan again, if it is to be signed.",
	failure.NotAsked:    "Run again without --only.",
	failure.PlanUnknown: "Make the plan again, and run that one.",
	failure.Transient:   "Run it again.",
	failure.Throttled:   "Run it again; limit the rate.",
	failure.Denied:      "Log in, or have the account or key granted the right.",
	failure.Full:        "Make room in the registry, and run it again.",
	failure.Permanent:   "Do what the reason says.",
	failure.Security:    "Find out why before anything else: an attack looks like this.",
	failure.Expired:     "Have the owner sign the trust data again, or accept it with --allow-expired.",
	failure.Unsigned:    "There is nothing to migrate: leave the repository out, or check the address of the Notary server.",
	failure.Unpinned:    "Pin the root: dct2notation pins lists its keys for comparison.",
	failure.Incomplete:  "Restore the file on the Notary server.",
	failure.NotNotary:   "Check the address of the Notary server.",
	failure.PlanChanged: "Make the plan again, and have it reviewed.",
	failure.NoKey:       "Add a key for the repository under keys.",
	failure.Unsupported: "Do what the reason says.",
}

// remedy returns what to do about a class of trust data that was not read, a cause, or a class of a tag.
func remedy(of, class string, unread bool) string {
	if c := verify.Class(class); of == OfVerify && (!unread || c == verify.Unknown) && remedies[c] != "" {
		return remedies[c]
	} else if of == OfVerify && c == verify.Untrusted {
		return failureRemedies[failure.Security] // verify's name for it
	}
	return Remedy(failure.Class(class))
}

// Remedy returns what to do about images that were not signed, or trust data that was not read.
func Remedy(class failure.Class) string {
	return cmp.Or(failureRemedies[class], "Do what the reason says.")
}

// RemedyOfTag returns what to do about tags on which the two sides disagree.
func RemedyOfTag(class verify.Class) string { return remedies[class] }
