"""How to reach a cluster: from a kubeconfig, or as the Pod that this process runs in.

Both programs use the client library for the configuration and the connection only: its models drop fields that they do
not know, and its watches have no timeouts and no backoff.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

TOKEN_SECONDS: Final = 60.0  # how long a token from the kubeconfig is used before it is read again


class ConfigError(Exception):
    """An error in how to reach the cluster; the message names the file, or what is accepted."""


async def api_client(kubeconfig: Path | None, otherwise: str) -> ApiClient:
    """Return a client for the kubeconfig's current context, else for the cluster of this Pod. Nothing is sent yet.

    ConfigError if that cannot be used; `otherwise` says what is missing where there is neither.
    """
    configuration = Configuration()
    # As in client-go: chain, names and dates are checked, but not that each CA conforms to RFC 5280 in every detail.
    configuration.disable_strict_ssl_verification = True
    place = kubeconfig or otherwise
    try:
        if kubeconfig:
            await _load(kubeconfig, configuration)
        else:
            load_incluster_config(configuration)
        return ApiClient(configuration)
    except ssl.SSLError as error:
        raise ConfigError(f"{place}: its certificates or keys cannot be used: {error.reason}") from error
    except (OSError, ConfigException) as error:
        raise ConfigError(f"{place}: {error}") from error


async def _load(kubeconfig: Path, configuration: Configuration) -> None:
    """Take over what the file says, and read expiring tokens again; the library does so only in a Pod.

    This runs the exec plugin of the file.
    """
    with _content_errors(kubeconfig):
        loader = await load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
    _strip(configuration)
    read = monotonic()

    async def refresh(configuration: Configuration) -> None:
        nonlocal read
        if monotonic() - read > TOKEN_SECONDS:
            with _content_errors(kubeconfig):
                await loader.load_and_set(configuration)  # the token file again, and the exec plugin when it is time
            _strip(configuration)
            read = monotonic()

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]  # it is untyped


@contextmanager
def _content_errors(kubeconfig: Path) -> Iterator[None]:
    """Turn the loader's errors about the content of the file into ConfigError."""
    try:
        yield
    except yaml.YAMLError as error:
        raise ConfigError(f"{kubeconfig}: not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # the loader raises these for unexpected content
        raise ConfigError(f"{kubeconfig}: not a kubeconfig: {error}") from error


def _strip(configuration: Configuration) -> None:
    """Remove the line break at the end of a token file, which a header must not have."""
    configuration.api_key = {name: token.strip() for name, token in configuration.api_key.items()}
