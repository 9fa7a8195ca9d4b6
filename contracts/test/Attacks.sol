// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {Registry} from "../src/Registry.sol";
import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Kind, Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// One call of every function that can change anything, against somebody else's units, credits, group and rules.
abstract contract Attacks is Base {
    struct Attack {
        address target;
        string name;
        bytes data;
    }

    Attack[] internal attacks;
    uint256 internal asset;
    uint256 internal id;
    bytes32 internal lease;
    uint256 internal proposal;
    address[] internal targets;
    uint256[] internal values;
    bytes[] internal calls;

    /// `appraisal` comes with what signatures of it `quorum` holds.
    function _plan(ILedger.Appraisal memory appraisal, Signature[] memory quorum) internal {
        delete attacks;
        _planMembers(quorum);
        _planLedger(system.ledger, appraisal, quorum);
        _planRegistry(appraisal, quorum);
        _planAccess();
        _planMeter();
        _planCouncil();
        _planTimelock();
        _add(address(factory), "create", abi.encodeCall(factory.create, ("Ledger", vm.getCode("Coin.sol:Coin"))));
    }

    function isPlanned(address target, string memory name) internal view returns (bool) {
        for (uint256 i; i < attacks.length; ++i) {
            if (attacks[i].target == target && keccak256(bytes(attacks[i].name)) == keccak256(bytes(name))) {
                return true;
            }
        }
        return false;
    }

    function _planMembers(Signature[] memory q) private {
        address m = system.members;
        _add(m, "admit", abi.encodeCall(members.admit, (IMembers.Admission(stranger, "n", UNTIL, DEADLINE), q)));
        _add(m, "renew", abi.encodeCall(members.renew, (IMembers.Renewal(provider, UNTIL + 1, DEADLINE), q)));
        _add(m, "lapse", abi.encodeCall(members.lapse, (provider)));
        IMembers.Attachment memory joining = IMembers.Attachment(provider, developer, 0, DEADLINE);
        _add(m, "attach", abi.encodeCall(members.attach, (joining, "", "")));
        _add(m, "find", abi.encodeCall(members.find, (IMembers.Finding(provider, developer, "e", DEADLINE), q)));
        IMembers.Detachment memory leaving = IMembers.Detachment(affiliate, "e", members.nonces(affiliate), DEADLINE);
        _add(m, "detach", abi.encodeCall(members.detach, (leaving, q)));
        _add(m, "challengeDetach", abi.encodeCall(members.challengeDetach, (affiliate, "e")));
        _add(m, "completeDetach", abi.encodeCall(members.completeDetach, (affiliate)));
        IMembers.Recovery memory recovery = IMembers.Recovery(provider, stranger, "e", 0, DEADLINE);
        _add(m, "recover", abi.encodeCall(members.recover, (recovery, q)));
        _add(m, "vetoRecovery", abi.encodeCall(members.vetoRecovery, ()));
        _add(m, "completeRecovery", abi.encodeCall(members.completeRecovery, (provider)));
        _add(m, "refuseGifts", abi.encodeCall(members.refuseGifts, (true)));
        _planSettings(m, "admissionsPerDay", 0, ADMISSIONS - 1);
    }

    function _planSettings(address target, bytes32 name, bytes32 subject, uint256 value) private {
        _add(target, "change", abi.encodeCall(members.change, (name, subject, value)));
        _add(target, "enact", abi.encodeCall(members.enact, (name, subject)));
        _add(target, "cancel", abi.encodeCall(members.cancel, (name, subject)));
        _add(target, "abdicate", abi.encodeCall(members.abdicate, (name, subject)));
        _add(target, "addSigner", abi.encodeCall(members.addSigner, (stranger)));
        _add(target, "enactSigner", abi.encodeCall(members.enactSigner, (stranger)));
        _add(target, "removeSigner", abi.encodeCall(members.removeSigner, (addressOf(attesterKeys[0]))));
        _add(target, "removeSigner", abi.encodeCall(members.removeSigner, (addressOf(appraiserKeys[0]))));
    }

    /// What the registry's code does for the ledger; tried on both.
    function _planRegistered(address l, ILedger.Appraisal memory a, Signature[] memory q) private {
        _planSettings(l, "holdBps", GPUS, HOLD_BPS - 1);
        ILedger.ClassParams memory p = ILedger.ClassParams("data/mine", Kind.DATA, "B", HOLD_BPS, USE_BPS, 0, FLOOR);
        _add(l, "createClass", abi.encodeCall(ledger.createClass, (p)));
        _add(l, "register", abi.encodeCall(ledger.register, (a, q, oneShare(affiliate, GPU), 1, "")));
        _add(l, "renew", abi.encodeCall(ledger.renew, (asset, a, q)));
        _add(l, "lowerCommonsPrice", abi.encodeCall(ledger.lowerCommonsPrice, (asset, 0)));
        _add(l, "retire", abi.encodeCall(ledger.retire, (asset, a.devices)));
        _addToken(l, asset, provider);
    }

    function _planLedger(address l, ILedger.Appraisal memory a, Signature[] memory q) private {
        _planRegistered(l, a, q);
        _add(l, "take", abi.encodeCall(ledger.take, (asset, 1, type(uint128).max)));
        _add(l, "decline", abi.encodeCall(ledger.decline, (asset, 1)));
        address[] memory people = _two(provider, developer);
        _add(l, "sync", abi.encodeCall(ledger.sync, (asset, people)));
        _add(l, "accrue", abi.encodeCall(ledger.accrue, (asset, 1)));
        _add(l, "claim", abi.encodeCall(ledger.claim, (asset, provider)));
        _add(l, "shareCommons", abi.encodeCall(ledger.shareCommons, (asset)));
        _add(l, "claimCommons", abi.encodeCall(ledger.claimCommons, (provider)));
        uint256[] memory ids = new uint256[](1);
        ids[0] = asset;
        _add(l, "recover", abi.encodeCall(ledger.recover, (provider, ids)));
        _add(l, "merge", abi.encodeCall(ledger.merge, (provider, developer)));
        _add(l, "detach", abi.encodeCall(ledger.detach, (affiliate, people)));
        _add(l, "replace", abi.encodeCall(ledger.replace, (provider, stranger)));
        _add(l, "enter", abi.encodeCall(ledger.enter, (stranger)));
        _add(l, "exit", abi.encodeCall(ledger.exit, (provider)));
    }

    /// Called directly it has nothing of the ledger's.
    function _planRegistry(ILedger.Appraisal memory a, Signature[] memory q) private {
        address r = ledger.registry();
        _planRegistered(r, a, q);
        address[] memory mine = new address[](1);
        mine[0] = stranger;
        _add(r, "begin", abi.encodeCall(Registry.begin, (mine, 1, classParams())));
    }

    function _planAccess() private {
        address c = system.access;
        uint32 window = access.currentWindow();
        _add(c, "open", abi.encodeCall(access.open, (asset, window, 9, 1)));
        _add(c, "grant", abi.encodeCall(access.grant, (id, affiliate, 1)));
        _add(c, "buy", abi.encodeCall(access.buy, (id, 1, 3)));
        _add(c, "buyWithPermit", abi.encodeCall(access.buyWithPermit, (id, 1, 3, DEADLINE, 27, "", "")));
        IAccess.Redemption memory r = redemption(developer, id, 1);
        _add(c, "redeem", abi.encodeCall(access.redeem, (r)));
        _add(c, "redeemFor", abi.encodeCall(access.redeemFor, (r, "")));
        _add(c, "split", abi.encodeCall(access.split, (splitting(lease, 1, METER_KEY), "")));
        _add(c, "topUp", abi.encodeCall(access.topUp, (toppingUp(lease, 1), "")));
        _add(c, "rotate", abi.encodeCall(access.rotate, (rotation(lease, METER_KEY), "")));
        _add(c, "refund", abi.encodeCall(access.refund, (lease)));
        _add(c, "refundCredits", abi.encodeCall(access.refundCredits, (id, developer)));
        uint256[] memory ids = new uint256[](1);
        bytes32[] memory leases = new bytes32[](1);
        (ids[0], leases[0]) = (id, lease);
        _add(c, "recover", abi.encodeCall(access.recover, (developer, ids, leases)));
        _add(c, "deliver", abi.encodeCall(access.deliver, (lease, 1_000)));
        _add(c, "pay", abi.encodeCall(access.pay, (stranger, 1)));
        _add(c, "merge", abi.encodeCall(access.merge, (provider, developer)));
        _add(c, "detach", abi.encodeCall(access.detach, (affiliate, _two(provider, developer))));
        _add(c, "replace", abi.encodeCall(access.replace, (provider, stranger)));
        _addToken(c, id, developer);
    }

    function _planMeter() private {
        IMeter.SignedReceipt memory s = signed(IMeter.Receipt(lease, 1_000, "h"), 0x33, 0x33);
        _add(system.meter, "settle", abi.encodeCall(meter.settle, (batch(s))));
        _add(system.meter, "anchor", abi.encodeCall(meter.anchor, (0, "root", 1, 0, "")));
    }

    function _planCouncil() private {
        address c = system.council;
        _add(c, "propose", abi.encodeCall(council.propose, (targets, values, calls, "mine")));
        _add(c, "cancel", abi.encodeCall(council.cancel, (targets, values, calls, keccak256("why"))));
        _add(c, "queue", abi.encodeCall(council.queue, (targets, values, calls, keccak256("why"))));
        _add(c, "execute", abi.encodeCall(council.execute, (targets, values, calls, keccak256("why"))));
        _add(c, "castVote", abi.encodeCall(council.castVote, (proposal, 1)));
        _add(c, "castVoteWithReason", abi.encodeCall(council.castVoteWithReason, (proposal, 1, "")));
        _add(
            c,
            "castVoteWithReasonAndParams",
            abi.encodeCall(council.castVoteWithReasonAndParams, (proposal, 1, "", hex"01"))
        );
        _add(c, "castVoteBySig", abi.encodeCall(council.castVoteBySig, (proposal, 1, provider, "")));
        _add(
            c,
            "castVoteWithReasonAndParamsBySig",
            abi.encodeCall(council.castVoteWithReasonAndParamsBySig, (proposal, 1, provider, "", hex"01", ""))
        );
        _add(c, "relay", abi.encodeCall(council.relay, (system.timelock, 0, "")));
        _addReceivers(c);
    }

    function _planTimelock() private {
        address t = system.timelock;
        bytes memory data = calls[0];
        address target = targets[0];
        _add(t, "schedule", abi.encodeCall(timelock.schedule, (target, 0, data, 0, 0, TIMELOCK_DELAY)));
        _add(t, "scheduleBatch", abi.encodeCall(timelock.scheduleBatch, (targets, values, calls, 0, 0, TIMELOCK_DELAY)));
        _add(t, "cancel", abi.encodeCall(timelock.cancel, (_operation())));
        _add(t, "execute", abi.encodeCall(timelock.execute, (target, 0, data, 0, 0)));
        bytes32 salt = bytes20(system.council) ^ keccak256("why");
        _add(t, "executeBatch", abi.encodeCall(timelock.executeBatch, (targets, values, calls, 0, salt)));
        _addReceivers(t);
    }

    function _operation() internal view returns (bytes32) {
        return timelock.hashOperationBatch(targets, values, calls, 0, bytes20(system.council) ^ keccak256("why"));
    }

    /// Tokens of other kinds may be sent there; they open nothing.
    function _addReceivers(address target) private {
        uint256[] memory none = new uint256[](0);
        _add(target, "onERC721Received", abi.encodeCall(timelock.onERC721Received, (stranger, stranger, 1, "")));
        _add(target, "onERC1155Received", abi.encodeCall(timelock.onERC1155Received, (stranger, stranger, 1, 1, "")));
        _add(
            target,
            "onERC1155BatchReceived",
            abi.encodeCall(timelock.onERC1155BatchReceived, (stranger, stranger, none, none, ""))
        );
    }

    function _addToken(address target, uint256 token, address holder) private {
        _add(target, "transfer", abi.encodeCall(IERC6909.transfer, (affiliate, token, 1)));
        _add(target, "transferFrom", abi.encodeCall(IERC6909.transferFrom, (holder, affiliate, token, 1)));
        _add(target, "approve", abi.encodeCall(IERC6909.approve, (affiliate, token, 1)));
        _add(target, "setOperator", abi.encodeCall(IERC6909.setOperator, (affiliate, true)));
    }

    function _add(address target, string memory name, bytes memory data) private {
        attacks.push(Attack(target, name, data));
    }

    function _two(address one, address other) private pure returns (address[] memory list) {
        list = new address[](2);
        (list[0], list[1]) = (one, other);
    }
}
