"""A list of things to do: kept in SQLite, or in MariaDB if DB_HOST names its host."""

import os
import sqlite3
from html import escape

from flask import Flask, redirect, request

EMPTY = "Nothing to do."

app = Flask(__name__)


def connect():
    if "DB_HOST" in os.environ:
        import pymysql

        return pymysql.connect(
            host=os.environ["DB_HOST"],
            user="todo",
            password=os.environ["DB_PASSWORD"],
            database="todo",
            autocommit=True,
        )
    os.makedirs("/var/lib/todo", exist_ok=True)
    return sqlite3.connect("/var/lib/todo/todo.db", isolation_level=None)


def query(sql, *values):
    connection = connect()
    try:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS items (text VARCHAR(200))")
        # The two databases write a place for a value in different ways.
        cursor.execute(sql if "DB_HOST" in os.environ else sql.replace("%s", "?"), values)
        return cursor.fetchall()
    finally:
        connection.close()


@app.get("/")
def page():
    items = [f"<li>{escape(text)}</li>" for (text,) in query("SELECT text FROM items")]
    lines = ["<h1>To do</h1>", *(items or [f"<p>{EMPTY}</p>"])]
    form = '<form method="post"><input name="text" autofocus><button>Add</button></form>'
    return "\n".join([*lines, form, ""])


@app.post("/")
def add():
    query("INSERT INTO items VALUES (%s)", request.form["text"])
    return redirect("/", 303)
