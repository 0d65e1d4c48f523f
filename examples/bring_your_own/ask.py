"""Load the exported learner, ask it, and write a question for the server."""

import json

from my_data import NUM_TASKS, turned_digits

import hcl

data = turned_digits()
learner = hcl.load("l2.safetensors")
for task in range(NUM_TASKS):
    mine = data["t_test"] == task
    answers = learner.predict(data["x_test"][mine], task)
    right = (answers.labels.numpy() == data["y_test"][mine]).mean()
    print(f"task {task}, digits {learner.tasks[task].labels}: {right:.1%} right")

asked = data["x_test"][data["t_test"] == 1][:3]
inputs = (asked.reshape(3, -1) / 255).round(3).tolist()  # as networks take them: 0 to 1
with open("question.json", "w") as file:
    json.dump({"inputs": inputs, "params": {"task": 1}}, file)
print("question.json:", data["y_test"][data["t_test"] == 1][:3])
