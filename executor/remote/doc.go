// Package remote lets one process compile and another, on another machine, do the work. The one that compiled sends the plan;
// the other asks for the contents and the deferred values that it needs, and sends a report. Journal and ledger are where the
// work is done, so that a broken connection leaves nothing behind but a run to be rolled back, which the worker does by itself.
//
//	operator                      worker
//	   |  <------ hello ----------  |   protocol, version, facts
//	   |  ------- job ----------->  |   what to do, the plan
//	   |  <------ ask ------------  |   a content by its hash, or a deferred value by its number
//	   |  ------- answer -------->  |   any number of times
//	   |  ------- cancel -------->  |   at most once; the end of the stream means the same
//	   |  <------ result ---------  |
//
// Neither believes the other more than it has to. The worker gets what its own plan names and nothing else of the tree, and what
// it says is limited in size.
package remote
