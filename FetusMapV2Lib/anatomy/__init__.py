"""The body: landmarks, pose, left and right, lengths, planes, dating, registration (numpy only)."""
