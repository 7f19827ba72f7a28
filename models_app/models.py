"""The intent as rows. `lifecycle` is the only writer of a replica's state; everything else here is plain fact."""

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from gpus.models import GPU
from models_app import in_force
from models_app.history.rows import Decision as Decision
from models_app.history.rows import Transition as Transition
from models_app.in_force import Governed, InForce
from models_app.policy_rows import Override as Override
from models_app.policy_rows import Window as Window
from models_app.policy_rows import WindowState as WindowState
from models_app.spec import UNDER_WAY, LaunchSpecification, Profile
from models_app.states import SETTLED, TRANSIENT, Goal, State
from sardeenz import sizes

SLUG = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "use 1 to 63 letters, digits, '.', '_' or '-'")
SERVED_NAME = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,199}$", "use up to 200 of A-Z a-z 0-9 . _ / : @ + -")


class Model(models.Model):
    """Weights at a pinned revision, and the facts read from their config."""

    name = models.CharField(max_length=63, unique=True, validators=[SLUG])
    source = models.CharField(max_length=500, help_text="a folder, or an id such as meta-llama/Llama-3.1-8B-Instruct")
    revision = models.CharField(max_length=64, blank=True)
    facts = models.JSONField(default=dict, blank=True, help_text="read from config.json and safetensors headers")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class EngineRuntime(models.Model):
    """Which executable and environment run an engine, so that several versions live side by side."""

    class Kind(models.TextChoices):
        VLLM_CUDA = "vllm-cuda"
        VLLM_CPU = "vllm-cpu"
        SIMULATOR = "simulator"

    name = models.CharField(max_length=63, unique=True, validators=[SLUG])
    kind = models.CharField(max_length=16, choices=Kind.choices)
    executable = models.CharField(max_length=500, help_text="the vllm command of its own environment")
    version = models.CharField(max_length=32, blank=True, help_text="vLLM's version, which selects the quirks")
    kvcached = models.BooleanField(default=True, help_text="elastic KV memory; CUDA and the simulator only")
    environment = models.JSONField(default=dict, blank=True, help_text="extra variables for the engine")

    class Meta:
        ordering = ("name",)
        verbose_name = "runtime"

    def __str__(self) -> str:
        return self.name


class Deployment(models.Model):
    """The operator's intent to serve a model under a served name."""

    name = models.CharField(max_length=63, unique=True, validators=[SLUG])
    served_name = models.CharField(max_length=200, unique=True, validators=[SERVED_NAME])
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="deployments")
    runtime = models.ForeignKey(EngineRuntime, on_delete=models.PROTECT, related_name="deployments")
    extra_args = models.JSONField(default=list, blank=True, help_text="flags for the engine, one word per entry")
    environment = models.JSONField(default=dict, blank=True)
    max_model_len = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    tensor_parallel = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    sleep_enabled = models.BooleanField(default=True)
    idle_sleep_seconds = models.FloatField(null=True, blank=True, help_text="sleep after this long without a request")
    idle_level_2_seconds = models.FloatField(
        null=True, blank=True, help_text="sleep at level 2 after this long without a request"
    )
    idle_stop_seconds = models.FloatField(
        null=True, blank=True, help_text="end its engine after this long without a request; the next one loads it"
    )
    min_resident_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0)],
        help_text="stay awake at least this long after a load or a wake; idle time alone does not end it before",
    )
    labels = models.JSONField(default=dict, blank=True, help_text="key=value pairs by which windows find it")
    replicas = models.PositiveSmallIntegerField(default=1, validators=[MaxValueValidator(64)])
    priority = models.IntegerField(default=0, help_text="higher is kept longer under memory pressure")
    pinned = models.BooleanField(default=False, help_text="never put to sleep or stopped to make room")
    max_concurrency = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="requests in flight; more wait in its queue"
    )
    queue_limit = models.PositiveIntegerField(default=1000, help_text="requests that may wait for a place")
    queue_seconds = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.0)], help_text="how long one may wait for a place"
    )
    ignore_known_problems = models.BooleanField(
        default=False, help_text="launch it, and let it sleep, although that is known to break in this version"
    )
    prefix_affinity = models.BooleanField(
        default=False, help_text="requests that begin alike go to the same replica, for its prefix cache"
    )
    capture_until = models.DateTimeField(null=True, blank=True, help_text="keep the latest requests, redacted, until")
    weights_bytes = models.BigIntegerField(null=True, blank=True, help_text="declared; else estimated from the files")
    overhead_bytes = models.BigIntegerField(null=True, blank=True, help_text="CUDA context, graphs, activations")
    kv_floor_bytes = models.BigIntegerField(null=True, blank=True, help_text="KV memory promised at all times")
    kv_cap_bytes = models.BigIntegerField(null=True, blank=True, help_text="KV memory it may grow to")
    kv_weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="its part of the KV memory that several models want, beside those of the same priority",
    )
    governed: "models.JSONField[Governed, Governed]" = models.JSONField(
        default=dict, blank=True, editable=False, help_text="what windows and overrides make of its settings now"
    )
    goal = models.CharField(
        max_length=16,
        choices=[(each.value, each.label) for each in (Goal.READY, Goal.STOPPED)],
        default=Goal.STOPPED,
        editable=False,
        help_text="ready: as many replicas as it says are kept placed",
    )
    reason = models.CharField(max_length=64, blank=True, editable=False, help_text="why replicas are missing: a code")
    message = models.TextField(blank=True, editable=False, help_text="the reason in words")
    deleting = models.BooleanField(default=False, editable=False, help_text="goes with its last replica")
    created_at = models.DateTimeField(auto_now_add=True)
    seq = models.BigIntegerField(default=1)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def in_force(self) -> InForce:
        """Its settings as they act now; everybody who acts by them reads them here."""
        return in_force.read(self, self.governed)

    @property
    def launch_cap_bytes(self) -> int | None:
        """The KV cap that its engine is launched with: the highest it may have in any window."""
        ceiling = self.governed.get("ceiling_bytes")
        return self.kv_cap_bytes if None in (self.kv_cap_bytes, ceiling) else max(self.kv_cap_bytes or 0, ceiling or 0)


def counted(prefix: str = "") -> Q:
    """Replicas that count towards a deployment's number: neither on their way out nor the target of a move."""
    own = Q(**{f"{prefix}replaces": None}) | Q(**{f"{prefix}replaces__disposable": True})
    return Q(**{f"{prefix}disposable": False}) & own


class Replica(models.Model):
    """One placed copy of a deployment; its engine is found by the marker `<installation>:<id>:<generation>`."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="placed")
    gpu = models.ForeignKey(GPU, on_delete=models.PROTECT, related_name="replicas", help_text="the lead GPU")
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    goal = models.CharField(max_length=16, choices=Goal.choices, default=Goal.READY)
    sleep_level = models.PositiveSmallIntegerField(default=1)
    generation = models.PositiveIntegerField(default=1, help_text="counts starts")
    deadline_at = models.DateTimeField(null=True, blank=True, db_index=True)
    reason = models.CharField(max_length=64, blank=True, help_text="stable code of the last transition")
    message = models.TextField(blank=True, help_text="the reason in words")
    replaces = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="replacements")
    restarting = models.BooleanField(default=False, help_text="stops in order to start again")
    disposable = models.BooleanField(default=False, help_text="the row goes once its engine is gone")
    spec: "models.JSONField[LaunchSpecification, LaunchSpecification]" = models.JSONField(
        default=dict, help_text="the launch specification, frozen when the replica was made"
    )
    address = models.CharField(max_length=253, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
    ipc_name = models.CharField(max_length=64, blank=True)
    phase = models.CharField(max_length=64, blank=True, help_text="what the load is doing, from the engine's log")
    progress_ratio = models.FloatField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True, help_text="when the load last showed progress")
    restarts = models.PositiveSmallIntegerField(default=0, help_text="failed starts since it last served for a while")
    restart_at = models.DateTimeField(null=True, blank=True)
    canary = models.JSONField(null=True, blank=True, help_text="the answer at first ready, compared after each wake")
    canary_use = models.JSONField(default=dict, blank=True, help_text="tokens of its canaries in one generation")
    profile: "models.JSONField[Profile, Profile]" = models.JSONField(
        default=dict, blank=True, help_text="bytes and seconds measured at load, sleep and wake"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    state_at = models.DateTimeField(help_text="when the state was entered")
    ready_at = models.DateTimeField(null=True, blank=True, help_text="when it last became ready")
    expected_at = models.DateTimeField(
        null=True, blank=True, help_text="when it should be ready, while it is asked for"
    )
    seq = models.BigIntegerField(default=1, help_text="grows with every write; the browser drops what is older")

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(condition=Q(state__in=State.values), name="replica_state_known"),
            models.CheckConstraint(
                condition=Q(state__in=sorted(SETTLED), deadline_at__isnull=True)
                | Q(state__in=sorted(TRANSIENT), deadline_at__isnull=False),
                name="replica_deadline_iff_transient",
            ),
            models.UniqueConstraint(
                fields=["address", "port"], condition=Q(port__isnull=False), name="replica_port_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.deployment}/{self.pk}"

    @property
    def marker(self) -> str:
        """What tells its engine from every other: `<id>:<generation>`."""
        return f"{self.pk}:{self.generation}"

    @property
    def down(self) -> bool:
        """Whether it has no engine, so that it has to load before it serves."""
        return self.state in (State.STOPPED, State.FAILED)

    @property
    def headed_for_ready(self) -> bool:
        """Whether it serves or is on its way there with an engine, or with one that comes."""
        return self.goal == Goal.READY and not self.down

    @property
    def rehearses(self) -> bool:
        """Whether it sleeps only to wake again: nobody asked for that sleep."""
        return self.profile.get("rehearsal") == UNDER_WAY

    @property
    def gives_way(self) -> str:
        """How it makes room for its own replacement; it comes back as it was where that fails. Else empty."""
        return self.profile.get("gives_way", "")

    @property
    def gpu_uuids(self) -> list[str]:
        """The GPUs of its engine, the lead GPU first."""
        return list(self.spec.get("gpu_uuids") or [])

    @property
    def weights_bytes(self) -> int:
        """As expected at its launch, on each of its GPUs; 0 where that is not known."""
        return int(self.spec.get("weights_bytes") or 0)

    @property
    def kv_floor_bytes(self) -> int:
        """KV memory that is reserved for it at all times, on each of its GPUs."""
        return int(self.spec.get("kv_floor_bytes") or 0)

    @property
    def sleep_enabled(self) -> bool:
        """Whether its engine was started with sleep mode, whatever the deployment says now."""
        return bool(self.spec.get("sleep_enabled"))

    @property
    def deployment_name(self) -> str:
        """Its deployment's name when it was launched, by which its logs are found."""
        return self.spec.get("deployment_name") or self.deployment.name

    @property
    def own_tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens that our own canaries took of this generation's engine."""
        use = self.canary_use if self.canary_use.get("generation") == self.generation else {}
        return use.get("prompt_tokens", 0), use.get("completion_tokens", 0)

    def count_own_tokens(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Write down at once what a canary took: the engine counts it, and no caller is to pay for it."""
        prompts, completions = self.own_tokens
        self.canary_use = {
            "generation": self.generation,
            "prompt_tokens": prompts + prompt_tokens,
            "completion_tokens": completions + completion_tokens,
        }
        Replica.objects.filter(pk=self.pk).update(canary_use=self.canary_use)

    @property
    def url(self) -> str:
        """Gateways and workers reach the replica's engine at this base URL."""
        return f"http://{self.address}:{self.port}"


class Reservation(models.Model):
    """Bytes of one GPU counted against a replica, until its engine is seen to have given them back."""

    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="reservations")
    gpu = models.ForeignKey(GPU, on_delete=models.PROTECT, related_name="reservations")
    awake_bytes = models.BigIntegerField(help_text="weights + overhead + KV floor")
    asleep_bytes = models.BigIntegerField(help_text="what a sleeping engine still holds: its CUDA context")
    held_bytes = models.BigIntegerField(help_text="what counts now")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["replica", "gpu"], name="reservation_once_per_gpu"),)

    def __str__(self) -> str:
        return f"{self.replica} holds {sizes.shown(self.held_bytes)} of {self.gpu}"


class MemoryProfile(models.Model):
    """What a load, a sleep and a wake took, for the next of their kind: one row for each type of GPU. Null: not yet."""

    key = models.CharField(max_length=64, help_text="hash of all that decides it but the GPU")
    gpu_name = models.CharField(max_length=100, blank=True, default="", help_text="type of GPU; empty in old rows")
    simulated = models.BooleanField(default=False, help_text="its seconds are used, its bytes teach nothing")
    about = models.JSONField(help_text="model, revision, flags, length, tensor parallel, engine version")
    estimated = models.JSONField(default=dict, blank=True, help_text="what was expected of the same, in bytes")
    weights_bytes = models.BigIntegerField()
    overhead_bytes = models.BigIntegerField()
    graphs_bytes = models.BigIntegerField(null=True, blank=True)
    load_seconds = models.FloatField()
    first_sleep_seconds = models.FloatField(null=True, blank=True, help_text="an engine's first at level 1")
    sleep_seconds = models.FloatField(null=True, blank=True, help_text="later ones at level 1")
    wake_seconds = models.FloatField(null=True, blank=True, help_text="from level 1")
    deep_sleep_seconds = models.FloatField(null=True, blank=True, help_text="at level 2")
    deep_wake_seconds = models.FloatField(null=True, blank=True, help_text="from level 2")
    host_bytes = models.BigIntegerField(null=True, blank=True, help_text="host RAM of an engine that never slept")
    host_asleep_bytes = models.BigIntegerField(null=True, blank=True, help_text="host RAM asleep at level 1")
    measured_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["key", "gpu_name"], name="profile_once_per_gpu_type"),)

    def __str__(self) -> str:
        return f"profile {self.key[:12]}"


class Plan(models.Model):
    """What an action would do, as it was answered, so that it can be done if nothing has moved since."""

    action = models.JSONField(help_text="the verb, what it acts on, and how")
    outcome = models.JSONField(help_text="what would happen")
    depends_on = models.JSONField(default=dict, help_text="how everything stood that the outcome follows from")
    actor = models.CharField(max_length=200)
    made_at = models.DateTimeField(auto_now_add=True, db_index=True)
    expires_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True, blank=True)
    applied_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"plan {self.pk}: {self.action.get('verb', '')}"
