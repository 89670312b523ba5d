"""The paper's protocol: its systems trained and tested in turn, and its tables beside ours."""
