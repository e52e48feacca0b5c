import pytest


def pytest_configure(config: pytest.Config) -> None:
    # PyFlink and Beam warn about themselves when they are imported.
    for module in ("pyflink", "apache_beam", "google", "pkg_resources"):
        config.addinivalue_line("filterwarnings", f"ignore::DeprecationWarning:{module}")
        config.addinivalue_line("filterwarnings", rf"ignore::DeprecationWarning:{module}\..*")
