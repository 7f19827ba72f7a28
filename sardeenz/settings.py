"""All settings, read top to bottom: paths, Django, DRF, Channels, Celery, then Sardeenz itself.

Every knob is an environment variable `SARDEENZ_*` with its unit in the name; README lists them.
"""

from pathlib import Path

from django.urls import reverse_lazy

from sardeenz import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("SARDEENZ_DATA_DIR", str(BASE_DIR / ".sardeenz"))).resolve()
VERSION = "0.1.0"

# --- Django ---------------------------------------------------------------------------------------------------
SECRET_KEY = env.secret("SARDEENZ_SECRET_KEY", DATA_DIR / "secret_key")
DEBUG = env.flag("SARDEENZ_DEBUG", False)
ALLOWED_HOSTS = env.words("SARDEENZ_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("SARDEENZ_TRUSTED_ORIGINS", "")
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "gpus",
    "models_app",
    "gateway",
    "sardeenz.run",
    "sardeenz.configuration",
]
MIDDLEWARE = [
    "sardeenz.middleware.request_id",
    "sardeenz.middleware.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "sardeenz.urls"
ASGI_APPLICATION = "sardeenz.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "sardeenz" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASE_URL = env.text("SARDEENZ_DATABASE_URL", "")
DATABASES = {"default": env.database(DATABASE_URL, DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "sardeenz.formats"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
FRONTEND_DIST = BASE_DIR / "frontend" / "dist"
STATICFILES_DIRS = [BASE_DIR / "sardeenz" / "static", *([FRONTEND_DIST] if FRONTEND_DIST.is_dir() else [])]
WHITENOISE_USE_FINDERS = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.flag("SARDEENZ_HTTPS", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SESSION_COOKIE_SECURE else None
LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "filters": {"repeats": {"()": "sardeenz.repeats.Repeats"}, "answered": {"()": "sardeenz.repeats.Answered"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["repeats"]}},
    "root": {"handlers": ["console"], "level": env.text("SARDEENZ_LOG_LEVEL", "INFO")},
    "loggers": {
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        "django.request": {"filters": ["answered"]},
    },
}

# --- Django REST framework ------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "gateway.access.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["sardeenz.access.permissions.ReadOrOperate"],
    "DEFAULT_PAGINATION_CLASS": "sardeenz.rest.base.Pagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["sardeenz.rest.json.StrictJSONParser"],
    "DEFAULT_METADATA_CLASS": "sardeenz.rest.metadata.Metadata",
    "EXCEPTION_HANDLER": "sardeenz.rest.errors.exception_handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sardeenz",
    "DESCRIPTION": "Nodes, GPUs, models, deployments, replicas and their verbs.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["sardeenz.access.permissions.ReadOrOperate"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {"PolicyLevelEnum": "models_app.in_force.Level", "SleepLevelEnum": [(1, 1), (2, 2)]},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "sardeenz.rest.error_schema.add_errors",
    ],
}

# --- Redis, Channels and Celery ---------------------------------------------------------------------------------
REDIS_URL = env.text("SARDEENZ_REDIS_URL", "") or env.embedded_redis_url(DATA_DIR)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "sardeenz:channels"},
    }
}
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "sardeenz:celery:", "max_retries": 1, "socket_timeout": 5}
CELERY_TASK_IGNORE_RESULT = True
CELERY_DB_REUSE_MAX = 2**62  # else Celery closes the connection after each task, whatever CONN_MAX_AGE says
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "sardeenz.run.beat:SteadyScheduler"
CELERY_BEAT_SCHEDULE = {
    "tick": {"task": "models_app.tick", "schedule": 2.0, "options": {"expires": 2}},
    "apply_policies": {"task": "models_app.apply_policies", "schedule": 2.0, "options": {"expires": 2}},
    "keep_samples": {"task": "models_app.keep_samples", "schedule": 10.0, "options": {"expires": 10}},
    "settle": {"task": "gateway.settle", "schedule": 3.0, "options": {"expires": 3}},
    "roll_up_usage": {"task": "gateway.roll_up_usage", "schedule": 60.0, "options": {"expires": 60}},
    "prune_usage": {"task": "gateway.prune_usage", "schedule": 3600.0, "options": {"expires": 600}},
    "lost_benchmarks": {"task": "gateway.lost_benchmarks", "schedule": 20.0, "options": {"expires": 20}},
    "prune_history": {"task": "models_app.prune_history", "schedule": 3600.0, "options": {"expires": 600}},
}

# --- Sardeenz ---------------------------------------------------------------------------------------------------
HOST = env.text("SARDEENZ_HOST", "127.0.0.1")
WEB_PORT = env.integer("SARDEENZ_WEB_PORT", 8000, minimum=1)
GATEWAY_PORT = env.integer("SARDEENZ_GATEWAY_PORT", 8001, minimum=1)
GATEWAY_PROCESSES = env.integer("SARDEENZ_GATEWAY_PROCESSES", 2, minimum=1)
BENCHMARK_URL = env.text("SARDEENZ_BENCHMARK_URL", "") or f"http://127.0.0.1:{GATEWAY_PORT}"
NODE = env.text("SARDEENZ_NODE", "") or env.host_name()
NODE_ADDRESS = env.text("SARDEENZ_NODE_ADDRESS", "127.0.0.1")
GPUS = env.text("SARDEENZ_GPUS", "auto")
VLLM = env.text("SARDEENZ_VLLM", "")
KEEP_ENGINES = env.flag("SARDEENZ_KEEP_ENGINES", False)
SIMULATED_DEFAULT = "2x80GiB"
GPU_HEADROOM_BYTES = env.size_bytes("SARDEENZ_GPU_HEADROOM", "1GiB")
SLEEP_RAM_BYTES = env.size_bytes("SARDEENZ_SLEEP_RAM", "0")
ENGINE_PORTS = env.port_range("SARDEENZ_ENGINE_PORTS", "18100-18999")
MODELS_DIR = Path(env.text("SARDEENZ_MODELS_DIR", str(DATA_DIR / "models"))).resolve()
SECRETS_DIR = Path(env.text("SARDEENZ_SECRETS_DIR", str(DATA_DIR / "secrets"))).resolve()
LOG_DIR = DATA_DIR / "logs"
ENGINE_LOG_BYTES = env.size_bytes("SARDEENZ_ENGINE_LOG", "64MiB")
SEGMENT_DIR = Path(env.text("SARDEENZ_SEGMENT_DIR", "/dev/shm"))
SIMULATED_DIR = DATA_DIR / "simulated"
START_SECONDS = env.seconds("SARDEENZ_START_SECONDS", 1800)
TURN_SECONDS = env.seconds("SARDEENZ_TURN_SECONDS", 120)
DRAIN_SECONDS = env.seconds("SARDEENZ_DRAIN_SECONDS", 300)
SLEEP_SECONDS = env.seconds("SARDEENZ_SLEEP_SECONDS", 300)
REHEARSE_SLEEP = env.flag("SARDEENZ_REHEARSE_SLEEP", False) if env.text("SARDEENZ_REHEARSE_SLEEP", "") else None
WAKE_SECONDS = env.seconds("SARDEENZ_WAKE_SECONDS", 300)
MIN_RESIDENT_SECONDS = env.seconds("SARDEENZ_MIN_RESIDENT_SECONDS", 4)
EVICT_WAIT_SECONDS = env.seconds_by_priority(
    env.renamed("SARDEENZ_EVICT_WAIT_SECONDS", old="SARDEENZ_SWAP_WAIT_SECONDS"), "-1:4 0:8 1:16"
)
ORPHAN_SECONDS = env.seconds("SARDEENZ_ORPHAN_SECONDS", 600)
STOP_SECONDS = env.seconds("SARDEENZ_STOP_SECONDS", 30)
RESTART_LIMIT = env.integer("SARDEENZ_RESTART_LIMIT", 5)
ROUTE_TTL_SECONDS = env.seconds("SARDEENZ_ROUTE_TTL_SECONDS", 1)
GATEWAY_TTL_SECONDS = env.seconds("SARDEENZ_GATEWAY_TTL_SECONDS", 10)
WAIT_SECONDS = env.seconds("SARDEENZ_WAIT_SECONDS", 600)
QUIET_SECONDS = env.seconds("SARDEENZ_QUIET_SECONDS", 300)
CORS_ORIGINS = env.words("SARDEENZ_CORS_ORIGINS", "")
SLOW_SECONDS = env.seconds("SARDEENZ_SLOW_SECONDS", 60)
STARVED_SECONDS = env.seconds("SARDEENZ_STARVED_SECONDS", 30)
WAIT_LIMIT = env.integer("SARDEENZ_WAIT_LIMIT", 1000, minimum=1)
WAIT_BYTES = env.size_bytes("SARDEENZ_WAIT_BYTES", "1GiB")
BODY_BYTES = env.size_bytes("SARDEENZ_BODY", "64MiB")
ENGINE_IDLE_SECONDS = env.seconds("SARDEENZ_ENGINE_IDLE_SECONDS", 1800)
CAPTURE_SECONDS = env.seconds("SARDEENZ_CAPTURE_SECONDS", 3600)
USAGE_DAYS = env.integer("SARDEENZ_USAGE_DAYS", 30, minimum=1)
HISTORY_DAYS = env.integer("SARDEENZ_HISTORY_DAYS", 30, minimum=1)
