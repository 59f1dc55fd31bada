"""The webhook that the API server calls before it stores a Pod.

    POST /mutate | /validate
      http.protocol        speaks HTTP/1.1 within bounds            too much, too slow: 4xx, or closed
      http.body            reads the body                           too large, not JSON: 4xx; no room left: 503
      server.reviewer      calls what follows, confirms an unconfirmed denial by a live read, counts and logs
      ── pure: no clock, no I/O, no logging ──
      admission.wire       decodes the AdmissionReview -> Request   not a review: 400 with the JSON path
      admission.decide     -> Decision
        flyte              whose Pod it is -> Task                  not Flyte's: allowed unchanged
        policy             what holds for the task -> Settings
        rules              fill, clamp, tolerate: Workload -> Changes
        rules.quota        what the Pod costs -> Verdict
        admission.denial   the words and the code of a denial
      admission.record     Changes -> annotation, audit annotations, warnings
      admission.answer     encodes the AdmissionReview
      ──
      server.app           sends the answer

Beside that, cluster.informer lists and watches the ResourceQuotas, and keeps the Snapshot for the quota checks.
server.reload follows the policy and the certificates, and server.supervise restarts a follower after an error.

offline.review does the same for files, and `cli` is the command line of all.
"""
