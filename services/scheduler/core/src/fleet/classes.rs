//! Which class a worker belongs to, and which classes could take a task.

use rota_wire::{Kind, Label};

use super::class::Profile;
use super::{Class, ClassKey, Fleet, REQUIRED_MAX, WorkerKey};

impl Fleet {
    /// The classes that handle a kind and carry the labels.
    pub(crate) fn classes_for(
        &self,
        kind: &Kind,
        labels: &[Label],
    ) -> impl Iterator<Item = &Class> {
        let keys = self.by_kind.get(kind).into_iter().flatten();
        let classes = keys.filter_map(|key| self.classes.get(key));
        classes.filter(|class| labels.is_empty() || self.suits(class, labels))
    }

    /// The same by their keys.
    pub(crate) fn class_keys(
        &self,
        kind: &Kind,
        labels: &[Label],
    ) -> impl Iterator<Item = ClassKey> {
        let keys = self.by_kind.get(kind).into_iter().flatten();
        keys.copied().filter(move |key| {
            let class = self.classes.get(key);
            class.is_some_and(|class| labels.is_empty() || self.suits(class, labels))
        })
    }

    /// Whether the workers of a class carry those of the labels that classes tell apart.
    pub(super) fn suits(&self, class: &Class, labels: &[Label]) -> bool {
        let mut indexed = labels.iter().filter(|label| self.required.contains(*label));
        indexed.all(|label| class.profile.labels.contains(label))
    }

    /// Whether classes tell all of these labels apart, so that no worker need be asked.
    pub(crate) fn tells_apart(&self, labels: &[Label]) -> bool {
        labels.iter().all(|label| self.required.contains(label))
    }

    /// From now on it is known who carries these labels, if that is not known of too many already. Returns
    /// those that are of another class now.
    pub(crate) fn want_labels(&mut self, labels: &[Label]) -> Vec<(WorkerKey, ClassKey)> {
        let mut moved = Vec::new();
        for label in labels {
            if self.required.len() >= REQUIRED_MAX || !self.required.insert(label.clone()) {
                continue;
            }
            for key in self.present.clone() {
                let carries = self
                    .workers
                    .get(&key)
                    .is_some_and(|w| w.labels.contains(label));
                if carries && let Some(class) = self.reclass(key) {
                    moved.push((key, class));
                }
            }
        }
        moved
    }

    /// Puts a worker into the class that it belongs to now.
    pub(super) fn reclass(&mut self, key: WorkerKey) -> Option<ClassKey> {
        let worker = self.workers.get(&key)?;
        let before = worker.class;
        let kinds = &self.classes.get(&before)?.profile.kinds;
        let profile = Profile::of(kinds, &worker.labels, &self.required);
        let class = self.enter_class(profile);
        self.move_class(key, class);
        self.change(key, |_| {});
        Some(class)
    }

    pub(super) fn move_class(&mut self, key: WorkerKey, class: ClassKey) {
        let Some(worker) = self.workers.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut worker.class, class);
        if before != class
            && let Some(old) = self.classes.get_mut(&before)
        {
            old.take_out(worker);
            self.reckon_service(before);
        }
        self.leave_class(before);
    }

    pub(super) fn enter_class(&mut self, profile: Profile) -> ClassKey {
        let known = self.by_profile.get(&profile).copied();
        let key = known.unwrap_or_else(|| {
            self.next_class += 1;
            let key = ClassKey(self.next_class);
            for (kind, _) in &profile.kinds {
                self.by_kind.entry(kind.clone()).or_default().insert(key);
            }
            self.by_profile.insert(profile.clone(), key);
            self.classes.insert(key, Class::new(profile));
            key
        });
        if let Some(class) = self.classes.get_mut(&key) {
            class.members += 1;
        }
        key
    }

    /// The last to leave a class ends it.
    pub(super) fn leave_class(&mut self, key: ClassKey) {
        let Some(class) = self.classes.get_mut(&key) else {
            return;
        };
        class.members -= 1;
        if class.members > 0 {
            return;
        }
        let Some(class) = self.classes.remove(&key) else {
            return;
        };
        for (kind, _) in &class.profile.kinds {
            if let Some(keys) = self.by_kind.get_mut(kind) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_kind.remove(kind);
                }
            }
        }
        self.by_profile.remove(&class.profile);
    }
}
