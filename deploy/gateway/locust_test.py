"""Load of uploads and of one picture:

    API_KEY=... locust -f deploy/gateway/locust_test.py --headless --users 10 --spawn-rate 10 --run-time 30s

--host is http://localhost:8080 unless given. A user's limit (1,000 requests a minute, if it has none of its own) ends in
answers 429, which count as failures: give the user of a load test a higher one.
"""

import base64
import os

from locust import HttpUser, between, task

# A picture of one pixel.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class GatewayUser(HttpUser):
    host = "http://localhost:8080"
    wait_time = between(0.01, 0.05)

    def on_start(self):
        self.client.headers["X-API-Key"] = os.environ["API_KEY"]

    @task
    def upload(self):
        headers = {"Content-Type": "image/png"}
        with self.client.post("/api/v1/upload", data=PICTURE, headers=headers, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status must be 200: found={answer.status_code}")
