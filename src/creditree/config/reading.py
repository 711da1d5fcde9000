"""The text of a configuration: read before what takes seconds to import, so that a wrong path is said at once."""

from pathlib import Path

from creditree.disk import content
from creditree.errors import ConfigError


def read_yaml(path: Path, what: str = "configuration") -> str:
    """Return the text of a YAML file. Raises ConfigError, which calls it `what`, where it cannot be read."""
    try:
        return content(path).decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{what} '{path}' does not exist; give the path of a YAML file.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{what} '{path}' cannot be read ({reason}); give the path of a YAML file.") from None
