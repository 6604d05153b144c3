"""The shared table says what failed as a test file does."""

import pytest

pytest.register_assert_rewrite("tests.integrations.behaviours", "tests.integrations.site")
