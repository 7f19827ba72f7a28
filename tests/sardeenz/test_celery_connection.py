"""Tasks share a connection to the database: a poke of a wake is not to wait for a new one."""

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_prerun
from django.db import connection

from sardeenz.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_connection_outlives_its_task() -> None:
    connection.ensure_connection()
    kept = connection.connection
    DjangoWorkerFixup(app).close_database()  # what Celery does before and after each task
    task_prerun.send(sender=None)
    assert connection.connection is kept


def test_a_task_gets_another_one_where_the_database_was_restarted() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ended = cursor.fetchone()
    connection.connection.close()
    task_prerun.send(sender=None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() != ended
