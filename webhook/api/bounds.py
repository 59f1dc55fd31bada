"""Bounds on the size of a Pod: far above what real Pods need, so that no Pod is expensive to review.

The API server accepts objects of 3 MiB, which could hold a million containers. The webhook refuses a Pod over a bound
before any rule looks at it.
"""

from typing import Annotated, Final, TypeAlias, TypeVar

from msgspec import Meta

T = TypeVar("T")

# A Pod with all its sidecars has some ten containers; a node runs 110 Pods.
CONTAINERS: Final = 100  # app containers and init containers, each
# cpu, memory, ephemeral-storage, a few kinds of hugepages and devices.
RESOURCE_NAMES: Final = 32  # in the requests or limits of one container
AMOUNTS: Final = 1024  # requests and limits of all containers together; an ordinary Pod has 20
TOLERATIONS: Final = 256  # the DaemonSet controller adds seven
REFERENCES: Final = 256  # owners, affinity terms, status conditions
# Names are at most 253 or 317 characters, but the webhook sees them before the API server validates them.
TEXT: Final = 512  # characters of a name, key, value or effect
ANNOTATIONS_BYTES: Final = 256 * 1024  # TotalAnnotationSizeLimitB in apimachinery
# A job has a head or a driver, and a few groups of workers, each with the containers of one Pod.
ROLES: Final = 64  # Pod templates of a job
JOB_CONTAINERS: Final = 256  # app and init containers of all its templates
REPLICAS: Final = 2**31 - 1  # of a role: the most that an int32 holds
NESTING: Final = 64  # levels of an AdmissionReview; rules look at nine of them
QUOTA_NAMES: Final = 1024  # of resources, in a ResourceQuota
# Objects, lists, and texts in a review: each takes some 100 bytes once it is decoded. A Pod with 1 MB of environment
# has 50,000.
VALUES: Final = 100_000
WEIGHED: Final = 64 * 1024  # bytes of a review from which on they are counted

# The same bounds as types, which the decoder enforces.
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT)]
ContainerList: TypeAlias = Annotated[list[T], Meta(max_length=CONTAINERS)]
TolerationList: TypeAlias = Annotated[list[T], Meta(max_length=TOLERATIONS)]
RoleList: TypeAlias = Annotated[list[T], Meta(max_length=ROLES)]
Replicas: TypeAlias = Annotated[int, Meta(ge=-REPLICAS - 1, le=REPLICAS)]
ReferenceList: TypeAlias = Annotated[list[T], Meta(max_length=REFERENCES)]
QuotaAmountMap: TypeAlias = Annotated[dict[Text, T], Meta(max_length=QUOTA_NAMES)]
AmountMap: TypeAlias = Annotated[dict[Text, T], Meta(max_length=RESOURCE_NAMES)]
